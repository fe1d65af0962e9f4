"""What retention does to a topic, at once: the records below an offset are gone."""

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from millstream.schemas import KafkaConnection
from tests.support.waiting import until

NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def delete_records(bootstrap: str, places: list[TopicPartition]) -> None:
    """Delete the records of each partition below its offset (`OFFSET_END`: all of them)."""
    admin = AdminClient(KafkaConnection(bootstrap).client())

    def deleted() -> bool:
        """False while a broker knows a new partition but does not lead it yet."""
        results = admin.delete_records(places).values()
        errors = [error for each in results if (error := each.exception(30)) is not None]
        for error in errors:
            if not isinstance(error, KafkaException) or error.args[0].code() not in NO_LEADER_YET:
                raise error
        return not errors

    until(deleted)
