"""The limit: a loop of confluent-kafka that reads records, writes two a job and commits a transaction each 50 ms.

It has no job, no ledger, no queue and no encoding: the two "events" are the bytes of the request, padded to the usual
size of an event.

python -m peers.bare_loop BOOTSTRAP SOURCE_TOPIC EVENTS_TOPIC GROUP PROCESSES
"""

import multiprocessing
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.schemas import KafkaConnection
from peers.tally import tally

EVENT_BYTES = 300
COMMIT_EACH_S = 0.05


def main() -> None:
    bootstrap, source, events, group, processes = sys.argv[1:]
    started = [
        multiprocessing.Process(target=loop, args=(bootstrap, source, events, group, number), daemon=True)
        for number in range(int(processes))
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()


def loop(bootstrap: str, source: str, events: str, group: str, number: int) -> None:
    connection = KafkaConnection(bootstrap)
    consumer = Consumer(connection.consumer(group, session_timeout_ms=6000))
    producer = Producer(connection.producer(transactional_id=f"{group}-{number}", linger_ms=5))
    producer.init_transactions(30)
    consumer.subscribe([source])
    while True:
        due = time.monotonic() + COMMIT_EACH_S
        ends: dict[int, int] = {}
        jobs = 0
        while (left := due - time.monotonic()) > 0:
            messages = consumer.consume(500, left)
            if messages and not ends:
                producer.begin_transaction()
            for message in messages:
                partition, offset, value = message.partition(), message.offset(), message.value()
                assert partition is not None and offset is not None and value is not None
                ends[partition] = offset + 1
                write_events(producer, events, message.key(), value)
            jobs += len(messages)
        if ends:
            offsets = [TopicPartition(source, partition, end) for partition, end in ends.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10)
            producer.commit_transaction(10)
            tally.count(jobs)


def write_events(producer: Producer, topic: str, key: bytes | None, request: bytes) -> None:
    event = request.ljust(EVENT_BYTES, b"\0")
    for _ in range(2):
        while True:
            try:
                producer.produce(topic, event, key)
                break
            except BufferError:
                producer.poll(0.01)


if __name__ == "__main__":
    main()
