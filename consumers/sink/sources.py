"""Which topics go to which tables."""

from dataclasses import dataclass

from millstream.schemas import TopicCatalogue


@dataclass(frozen=True)
class Source:
    """A topic, identified by the Avro record that it carries, and the table that its records are inserted into.

    Records are inserted into `<table>_landing`, whose columns are the record's fields and three of the sink's; rejected
    ones are tried alone on `<table>_check`. What is rejected there goes to `jobs.dead`, unless it came from it.

    `age_s`: how old a batch becomes before it is inserted, in seconds; None for as old as the settings say. `hurried`:
    whether each record is fetched at once; otherwise brokers collect them for as long as a fetch may wait.
    """

    record: str
    table: str
    age_s: float | None = None
    hurried: bool = True

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
    # They never end, and serve reports of minutes: workers watch each other in Kafka.
    Source("Heartbeat", "worker_heartbeats", age_s=10.0, hurried=False),
    Source("Alert", "alerts", age_s=3.0),
    Source("DeadLetter", "dead_letters", age_s=3.0),
    Source("Change", "changes", age_s=3.0),
)
"""Topics with a few records a second: each has a group of its own and is inserted every few seconds, as an insert makes
a part in every table that it fills."""

BY_TABLE = {source.table: source for source in (EVENTS, *LOW_VOLUME)}
