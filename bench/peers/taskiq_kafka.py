"""taskiq on Kafka (taskiq-aio-kafka). It commits what it has read on a timer, whether or not the jobs ran: at most
once."""

import os

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.admin import NewTopic
from taskiq_aio_kafka import AioKafkaBroker

from peers.taskiq_jobs import Jobs, worker_command

broker = AioKafkaBroker(os.environ["BENCH_KAFKA"], kafka_topic=NewTopic("bench.taskiq", 8, 1))
broker.configure_consumer(
    group_id="bench-taskiq",
    auto_offset_reset="earliest",
    # Its default assignor, from kafka-python, does not work with the metadata of aiokafka.
    partition_assignment_strategy=(RoundRobinPartitionAssignor,),
)
broker.configure_producer(acks="all", linger_ms=1)
jobs = Jobs(broker)
submit, submit_many, shutdown = jobs.submit, jobs.submit_many, jobs.shutdown


def worker(processes: int, concurrency: int) -> list[str]:
    return worker_command(__name__, processes, concurrency)
