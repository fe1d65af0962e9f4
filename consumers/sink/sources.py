"""Which topics go to which tables."""

from dataclasses import dataclass

from millstream.schemas import TopicCatalogue


@dataclass(frozen=True)
class Source:
    """A topic, identified by the Avro record that it carries, and the table that its records are inserted into.

    Records are inserted into `<table>_landing`, whose columns are the record's fields and three of the sink's; rejected
    ones are tried alone on `<table>_check`. What is rejected there goes to `jobs.dead`, unless it came from it.
    """

    record: str
    table: str

    @property
    def landing_table(self) -> str:
        return f"{self.table}_landing"

    @property
    def check_table(self) -> str:
        return f"{self.table}_check"

    @property
    def dated(self) -> bool:
        """Whether the landing table has bounds for `occurred_at`."""
        return self.table in ("job_events", "worker_heartbeats")

    @property
    def gives_dead_letters(self) -> bool:
        return self.record != "DeadLetter"

    def topic(self, topics: TopicCatalogue) -> str:
        """The name of the topic that carries these records. Only records of one topic have a source."""
        (found,) = (topic.name for topic in topics if topic.record == self.record)
        return found

    def group(self, events_group: str) -> str:
        """The consumer group of its sinks, given that of the sinks of events."""
        return events_group if self == EVENTS else f"{events_group}-{self.table}"


EVENTS = Source("JobEvent", "job_events")
LOW_VOLUME = (
    Source("Heartbeat", "worker_heartbeats"),
    Source("Alert", "alerts"),
    Source("DeadLetter", "dead_letters"),
    Source("Change", "changes"),
)
"""Topics with a few records a second: each has a group of its own and is inserted every few seconds."""

BY_TABLE = {source.table: source for source in (EVENTS, *LOW_VOLUME)}
