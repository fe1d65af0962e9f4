"""Giving orders to the workers (cancel, pause, resume, set a quota), and reading which ones stand."""

import time
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.schemas import Action, Codec, Command, DecodeError, KafkaConnection, TopicCatalogue

ANSWERS_WITHIN_S = 5.0
DELIVERED_WITHIN_S = 30.0
READ_WITHIN_S = 30.0


class OrderNotTaken(RuntimeError):
    """Kafka did not acknowledge an order; no worker will obey it."""


class OrdersUnreadable(RuntimeError):
    """The command topic could not be read to its end."""


def give_order(
    command: Command, connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> None:
    """Write an order and wait until Kafka has it. Every worker obeys within a second, and so does each that starts
    later, until another order of the same kind for the same target replaces it.

    Raises `OrderNotTaken` when Kafka does not take it. A `Command` that no worker could obey cannot be made: that
    raises pydantic's ValidationError.
    """
    failure: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failure.append(error)

    topic = (topics or TopicCatalogue()).commands
    producer = Producer(connection.producer(message_timeout_ms=int(DELIVERED_WITHIN_S * 1000)))
    value = (codec or Codec()).encode(command)
    try:
        producer.list_topics(topic, ANSWERS_WITHIN_S)
        producer.produce(topic, value, command.key, on_delivery=delivered)
    except KafkaException as error:
        raise OrderNotTaken(f"the order was not sent: {error.args[0].str()}") from error
    if producer.flush(DELIVERED_WITHIN_S + 1) or failure:
        raise OrderNotTaken(f"Kafka did not take the order: {failure[0].str() if failure else 'it does not answer'}")


def standing_orders(
    connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> list[Command]:
    """The orders that hold now, the oldest first: cancellations of jobs that have not ended, what is paused, and quotas
    that differ from the configuration. What cannot be read no worker obeys either, and is left out.

    Raises `OrdersUnreadable`.
    """
    topic, codec = (topics or TopicCatalogue()).commands, codec or Codec()
    consumer = Consumer(connection.consumer("millstream-orders", enable_partition_eof=True))
    standing: dict[bytes, Command] = {}
    trouble = "Kafka does not answer"
    deadline = time.monotonic() + READ_WITHIN_S
    try:
        consumer.list_topics(topic, ANSWERS_WITHIN_S)
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(max(0.0, deadline - time.monotonic()))) is not None:
            error = message.error()
            if error is None:
                _hear(message, codec, standing)
            elif error.code() == KafkaError._PARTITION_EOF:
                return list(standing.values())
            else:
                trouble = error.str()
                if not error.retriable():
                    break
    except KafkaException as error:
        raise OrdersUnreadable(f"{topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    raise OrdersUnreadable(f"{topic}: {trouble}")


def _hear(message: Message, codec: Codec, standing: dict[bytes, Command]) -> None:
    """Add the order of a record, and take away what it replaces, takes back or lifts."""
    if (value := message.value()) is None:
        standing.pop(message.key() or b"", None)
        return
    with suppress(DecodeError):
        command = codec.decode(value, Command)
        standing.pop(command.key, None)
        if not _lifts(command):
            standing[command.key] = command


def _lifts(command: Command) -> bool:
    return command.action is Action.RESUME or (command.action is Action.SET_QUOTA and not command.limits)
