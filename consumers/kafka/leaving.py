"""Leaving a consumer group."""

from contextlib import suppress

from confluent_kafka import Consumer, KafkaException

SERVED_AT_ONCE = 500


def leave_group(consumer: Consumer, static: bool) -> None:
    """Leave the group and close the consumer; a static member keeps its place in the group. Blocks while a join is
    under way.

    A consumer that is closed while an assignment waits to be handled may wait for ever for its own client, and hold
    the interpreter's lock meanwhile (librdkafka issues 4041 and 4884). So the subscription ends first, after which no
    assignment comes, and those that have come are handled by a client that still responds. Unsubscribing would cost a
    static member its place.
    """
    try:
        if not static:
            # Refused after a fatal error, which also ends the membership.
            with suppress(KafkaException):
                consumer.unsubscribe()
        while consumer.consume(SERVED_AT_ONCE, 0):
            pass
    finally:
        consumer.close()
