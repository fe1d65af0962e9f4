"""Sends commands to the workers (cancel a job, pause, resume, set a quota), takes them back, reads which are active,
and removes those that have expired."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaException, Message

from millstream.producers.commands_topic import read_records, write_records
from millstream.schemas import Action, Codec, Command, DecodeError, KafkaConnection, Scope, TopicCatalogue
from millstream.schemas.command import command_key

REMOVED_AT_ONCE = 50_000
"""Cancellations that one call removes at most: the buffer of a producer holds twice as many records."""


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
    _write({command.key: (codec or Codec()).encode(command)}, connection, topics)


def revoke_command(
    action: Action, scope: Scope, target: str, connection: KafkaConnection, topics: TopicCatalogue | None = None
) -> None:
    """Take back the command of this kind for this target, if there is one, and wait until Kafka has acknowledged that:
    a paused tenant goes on, a quota is as configured again, and a job that has not been cancelled yet runs.

    Raises `CommandNotSent`.
    """
    _write({command_key(action, scope, target): None}, connection, topics)


def remove_expired_cancellations(
    connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> int:
    """Write a tombstone for each cancellation that is older than any request in the lanes, so that the compacted topic
    does not grow with those of jobs that had ended before. Returns for how many, at most 50,000 in a call.

    Any number of programs may do so at once. A job that is cancelled again while this call runs, after it was submitted
    again under its id, may lose its second cancellation too. Reads the whole topic. Raises `CommandsUnreadable` and
    `CommandNotSent`.
    """
    topics = topics or TopicCatalogue()
    kept, oldest = _kept_commands(connection, topics, codec or Codec()), time.time() - topics.retention_s
    expired = [key for key, each in kept.items() if each.expired(oldest)][:REMOVED_AT_ONCE]
    if expired:
        _write(dict.fromkeys(expired), connection, topics)
    return len(expired)


def active_commands(
    connection: KafkaConnection, topics: TopicCatalogue | None = None, codec: Codec | None = None
) -> list[Command]:
    """The active commands, the oldest first: pauses, quotas that differ from the configuration, and cancellations. A
    cancellation of a job that had ended before stays until it is revoked, or is older than any request in the lanes.
    Records that cannot be decoded are left out, as workers do.

    Raises `CommandsUnreadable`.
    """
    topics = topics or TopicCatalogue()
    kept, oldest = _kept_commands(connection, topics, codec or Codec()), time.time() - topics.retention_s
    return [each.command for each in kept.values() if not each.expired(oldest)]


class _KeptCommand(NamedTuple):
    """A command that was neither replaced nor revoked, and when Kafka got it, in seconds since 1970."""

    command: Command
    sent_at: float

    def expired(self, oldest: float) -> bool:
        """Whether no job can be left that the command cancels, as the oldest request was submitted at `oldest`."""
        newest = max(self.sent_at, self.command.issued_at.timestamp())
        return self.command.action is Action.CANCEL_JOB and newest < oldest


def _write(records: Mapping[bytes, bytes | None], connection: KafkaConnection, topics: TopicCatalogue | None) -> None:
    """Write records by their keys and wait until Kafka has acknowledged them. Raises `CommandNotSent`."""
    try:
        write_records(connection, topics or TopicCatalogue(), records)
    except KafkaException as error:
        raise CommandNotSent(f"Kafka did not acknowledge the command: {error.args[0].str()}") from error


def _kept_commands(connection: KafkaConnection, topics: TopicCatalogue, codec: Codec) -> dict[bytes, _KeptCommand]:
    """The commands of the topic by their keys, the oldest first. Raises `CommandsUnreadable`."""
    kept: dict[bytes, _KeptCommand] = {}
    try:
        for message in read_records(connection, topics):
            _apply(message, codec, kept)
    except KafkaException as error:
        raise CommandsUnreadable(f"{topics.commands}: {error.args[0].str()}") from error
    return kept


def _apply(message: Message, codec: Codec, kept: dict[bytes, _KeptCommand]) -> None:
    """Add the command of a record, and remove the one that it replaces or revokes."""
    if (value := message.value()) is None:
        kept.pop(message.key() or b"", None)
        return
    with suppress(DecodeError):
        command = codec.decode(value, Command)
        kept.pop(command.key, None)
        if not _restores_default(command):
            kept[command.key] = _KeptCommand(command, message.timestamp()[1] / 1000)


def _restores_default(command: Command) -> bool:
    return command.action is Action.RESUME or (command.action is Action.SET_QUOTA and not command.limits)
