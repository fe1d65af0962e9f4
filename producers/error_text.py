"""What the errors of a producer mean, as sentences that name the cause and, where there is a usual one, the remedy."""

from confluent_kafka import KafkaError, KafkaException

from millstream.schemas.denial import DENIED, RIGHTS, no_right

HINTS: dict[int, str] = {
    KafkaError._MSG_TIMED_OUT: "no broker acknowledged it in time; is Kafka reachable? (millstream doctor)",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist (millstream topics apply)",
    KafkaError._UNKNOWN_TOPIC: "the topic does not exist (millstream topics apply)",
    KafkaError.MSG_SIZE_TOO_LARGE: "the record is larger than the broker accepts (message.max.bytes)",
}
NO_ANSWER = (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


class ErrorText:
    """Explains the errors of one producer. Thread-safe.

    `rejection`: why the brokers do not let this client in, as of its last connection that failed for that; empty
    without one. `denied`: the refusal of a right without which the producer can send nothing at all, if there was one.
    """

    def __init__(self, user: str = "", transactional_id: str = "") -> None:
        self.rejection = ""
        self.denied: KafkaError | None = None
        self._user = user
        self._transactional_id = transactional_id

    def __call__(self, error: KafkaError | KafkaException, topic: str = "") -> str:
        """The error as a sentence. `topic`: of the record that it is about."""
        cause: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
        cause = self.denied or cause
        text = str(cause.str())
        if cause.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return f"{no_right(self._user, 'Write', f'transactional-id {self._transactional_id}')}; {RIGHTS}"
        if cause.code() in DENIED:
            return f"{no_right(self._user, 'Write', f'topic {topic}' if topic else 'any topic')}; {RIGHTS}"
        if self.rejection and cause.code() in NO_ANSWER:
            return f"the brokers do not accept this client: {self.rejection}"
        hint = HINTS.get(cause.code())
        return f"{text}: {hint}" if hint else text
