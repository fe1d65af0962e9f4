"""Giving orders to the workers: cancel, pause, resume, set a quota."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millstream.schemas import Action, Codec, Command, KafkaConnection, TopicCatalogue

DELIVERED_WITHIN_S = 30.0


class OrderNotTaken(RuntimeError):
    """Kafka did not acknowledge an order; no worker will obey it."""


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

    producer = Producer(connection.producer(message_timeout_ms=int(DELIVERED_WITHIN_S * 1000)))
    value = (codec or Codec()).encode(command)
    try:
        producer.produce((topics or TopicCatalogue()).commands, value, order_key(command), on_delivery=delivered)
    except KafkaException as error:
        raise OrderNotTaken(f"the order was not sent: {error.args[0].str()}") from error
    if producer.flush(DELIVERED_WITHIN_S + 1) or failure:
        raise OrderNotTaken(f"Kafka did not take the order: {failure[0].str() if failure else 'it does not answer'}")


def order_key(command: Command) -> bytes:
    """What compaction keeps the last order of. Pausing and resuming replace each other; a quota is another kind."""
    kind = "paused" if command.action in (Action.PAUSE, Action.RESUME) else command.action.value
    return f"{command.scope.value}:{command.target}:{kind}".encode()
