"""Why a producer has failed for good, such as that of a user who may write no topic at all."""

from confluent_kafka import KafkaError, KafkaException, Producer


def kafka_error(error: Exception) -> KafkaException:
    """The error of Kafka that a call of a client raised. A client that fails for good while it reports deliveries
    raises a `SystemError` because of it. Raises the exception when there is none."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, KafkaException):
            return found
        found = found.__cause__ or found.__context__
    raise error


def cause_of_failure(producer: Producer, error: Exception) -> KafkaException:
    """As `kafka_error`, and the cause in place of an error that only says that the producer has failed for good."""
    found = kafka_error(error)
    if found.args[0].code() == KafkaError._FATAL:
        try:
            producer.flush(0)
        except (KafkaException, SystemError) as cause:
            return kafka_error(cause)
    return found
