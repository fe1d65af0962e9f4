"""Sends commands to the workers (cancel a job, pause, resume, set a quota), and reads which ones are active."""

import time
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millstream.schemas import Action, Codec, Command, DecodeError, KafkaConnection, TopicCatalogue

METADATA_TIMEOUT_S = 5.0
DELIVERY_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 30.0


class CommandNotSent(RuntimeError):
    """Kafka did not acknowledge a command; no worker will apply it."""


class CommandsUnreadable(RuntimeError):
    """The command topic could not be read to its end."""


def send_command(
    command: Command, connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> None:
    """Write a command and wait until Kafka has acknowledged it. Every worker applies it within a second, and so does
    each that starts later, until another command of the same kind for the same target replaces it.

    Raises `CommandNotSent`. A `Command` that no worker could apply cannot be made: that raises pydantic's
    ValidationError.
    """
    failure: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failure.append(error)

    topic = (topics or TopicCatalogue()).commands
    producer = Producer(connection.producer(message_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000)))
    value = (codec or Codec()).encode(command)
    try:
        producer.list_topics(topic, METADATA_TIMEOUT_S)
        producer.produce(topic, value, command.key, on_delivery=delivered)
    except KafkaException as error:
        raise CommandNotSent(f"the command was not sent: {error.args[0].str()}") from error
    if producer.flush(DELIVERY_TIMEOUT_S + 1) or failure:
        reason = failure[0].str() if failure else f"no answer within {DELIVERY_TIMEOUT_S:g} s"
        raise CommandNotSent(f"Kafka did not acknowledge the command: {reason}")


def active_commands(
    connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> list[Command]:
    """The active commands, the oldest first: cancellations of jobs that have not ended, pauses, and quotas that differ
    from the configuration. Records that cannot be decoded are left out, as workers do.

    Raises `CommandsUnreadable`.
    """
    topic, codec = (topics or TopicCatalogue()).commands, codec or Codec()
    consumer = Consumer(connection.consumer("millstream-active-commands", enable_partition_eof=True))
    active: dict[bytes, Command] = {}
    reason = "Kafka does not answer"
    deadline = time.monotonic() + READ_TIMEOUT_S
    try:
        consumer.list_topics(topic, METADATA_TIMEOUT_S)
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(max(0.0, deadline - time.monotonic()))) is not None:
            error = message.error()
            if error is None:
                _apply(message, codec, active)
            elif error.code() == KafkaError._PARTITION_EOF:
                return list(active.values())
            else:
                reason = error.str()
                if not error.retriable():
                    break
    except KafkaException as error:
        raise CommandsUnreadable(f"{topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    raise CommandsUnreadable(f"{topic}: {reason}")


def _apply(message: Message, codec: Codec, active: dict[bytes, Command]) -> None:
    """Add the command of a record, and remove the one that it replaces or revokes."""
    if (value := message.value()) is None:
        active.pop(message.key() or b"", None)
        return
    with suppress(DecodeError):
        command = codec.decode(value, Command)
        active.pop(command.key, None)
        if not _restores_default(command):
            active[command.key] = command


def _restores_default(command: Command) -> bool:
    return command.action is Action.RESUME or (command.action is Action.SET_QUOTA and not command.limits)
