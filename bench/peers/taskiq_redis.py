"""taskiq on Redis streams: a message is acknowledged after its job."""

import os

from taskiq_redis import RedisStreamBroker

from peers.taskiq_jobs import Jobs, worker_command

broker = RedisStreamBroker(os.environ["BENCH_REDIS"], max_connection_pool_size=100, consumer_id="0")
jobs = Jobs(broker)
submit, submit_many, shutdown = jobs.submit, jobs.submit_many, jobs.shutdown


def worker(processes: int, concurrency: int) -> list[str]:
    return worker_command(__name__, processes, concurrency)
