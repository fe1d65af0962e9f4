"""The least rights of each service and command, as the documentation and `millstream acls` show them. Pure.

`docs/security.md` holds the same table; a test compares the two, and another one runs everything with these rights and
no others on a broker with an authorizer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from millstream.consumers.sink.sources import EVENTS, LOW_VOLUME
from millstream.schemas import TopicCatalogue

Role = Literal["producer", "worker", "sink", "tracker", "operator", "topics", "doctor"]
Kind = Literal["topic", "group", "transactional-id", "cluster"]
Pattern = Literal["literal", "prefixed"]
Operation = Literal["Read", "Write", "Describe", "Create", "Alter", "AlterConfigs", "DescribeConfigs"]

CLUSTER_NAME = "kafka-cluster"
"""How Kafka calls the cluster as a resource."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a role may do to a kind of resource. `name` has placeholders in angle brackets (`Names`). `without`: what
    does not work when it is missing. `vital`: the service can do nothing at all without it, on any of the resources
    that the name stands for."""

    role: Role
    kind: Kind
    name: str
    pattern: Pattern
    operations: tuple[Operation, ...]
    without: str
    vital: bool = False


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on one resource. Its row says what it is for."""

    row: Row
    name: str
    operation: Operation

    @property
    def resource(self) -> str:
        """The resource in a sentence."""
        if self.row.kind == "cluster":
            return "the cluster"
        prefixed = " and all that begin so" if self.row.pattern == "prefixed" else ""
        return f"{self.row.kind} {self.name}{prefixed}"


@dataclass(frozen=True, slots=True)
class Names:
    """What stands for the placeholders of the table. `lanes`: those of the service."""

    topics: TopicCatalogue
    lanes: Sequence[str]
    worker_group: str
    sink_group: str

    def of(self, name: str) -> Iterator[str]:
        """The resources that a name of the table stands for."""
        name = name.replace("<worker.group>", self.worker_group).replace("<sink.group>", self.sink_group)
        name = name.replace("<prefix>", self.topics.prefix)
        yield from (name.replace("<lane>", lane) for lane in self.lanes) if "<lane>" in name else [name]


LANE, OVERFLOW = "<prefix>jobs.<lane>", "<prefix>jobs.<lane>.overflow"
DOCUMENTED = TopicCatalogue("<prefix>", ("<lane>",))
"""The catalogue with the placeholders of the table for names."""


def _read_by_sink() -> Iterator[Row]:
    for source in (EVENTS, *LOW_VOLUME):
        yield Row(
            "sink",
            "topic",
            source.topic(DOCUMENTED),
            "literal",
            ("Read",),
            f"the table `{source.table}` gets nothing; the others go on",
        )


ROWS: tuple[Row, ...] = (
    Row("producer", "topic", LANE, "literal", ("Write",), "no job of the lane is accepted"),
    Row(
        "producer",
        "topic",
        "<prefix>jobs.events",
        "literal",
        ("Write",),
        "a job is accepted, and seen from its start on only; the client warns",
    ),
    Row(
        "producer",
        "transactional-id",
        "<prefix>producer-",
        "prefixed",
        ("Write",),
        "`submit_many(atomic=True)` is refused",
    ),
    Row("worker", "transactional-id", "<prefix>worker-", "prefixed", ("Write",), "no job runs", vital=True),
    Row("worker", "group", "<worker.group>.", "prefixed", ("Read",), "no job runs", vital=True),
    Row("worker", "topic", LANE, "literal", ("Read",), "no job of the lane runs", vital=True),
    Row("worker", "topic", LANE, "literal", ("Write",), "a job of the lane that is to be retried waits"),
    Row("worker", "topic", OVERFLOW, "literal", ("Read",), "no job of the overflow topic runs"),
    Row("worker", "topic", OVERFLOW, "literal", ("Write",), "the excess of a tenant that exceeds its share waits"),
    Row("worker", "topic", "<prefix>jobs.events", "literal", ("Write",), "no job runs", vital=True),
    Row(
        "worker",
        "topic",
        "<prefix>jobs.events",
        "literal",
        ("Read",),
        "a worker ends at a partition with jobs and without commits: it cannot tell whether they have run",
    ),
    Row("worker", "topic", "<prefix>jobs.dead", "literal", ("Write",), "a job that ends as a dead letter waits"),
    Row("worker", "topic", "<prefix>jobs.commands", "literal", ("Read",), "no job starts", vital=True),
    Row("worker", "topic", "<prefix>jobs.commands", "literal", ("Write",), "a cancelled job waits at its end"),
    Row(
        "worker",
        "topic",
        "<prefix>jobs.heartbeats",
        "literal",
        ("Read",),
        "the worker does not notice others that die, until their groups do",
    ),
    Row(
        "worker",
        "topic",
        "<prefix>jobs.heartbeats",
        "literal",
        ("Write",),
        "the worker is not seen, and its death not noticed until its groups do",
    ),
    Row(
        "sink",
        "group",
        "<sink.group>",
        "prefixed",
        ("Read",),
        "no table gets anything",
        vital=True,
    ),
    *_read_by_sink(),
    Row(
        "sink",
        "topic",
        "<prefix>jobs.dead",
        "literal",
        ("Write",),
        "a partition waits at a record that ClickHouse rejects",
    ),
    Row(
        "sink",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Read",),
        "a partition waits at a record with a schema id that the sink does not know",
    ),
    Row("tracker", "group", "<prefix>tracker", "literal", ("Read",), "no state is kept", vital=True),
    Row("tracker", "topic", "<prefix>jobs.events", "literal", ("Read",), "no state is kept", vital=True),
    Row("tracker", "topic", "<prefix>jobs.states", "literal", ("Read", "Write"), "no state is kept", vital=True),
    Row(
        "tracker",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Read",),
        "the tracker waits at an event with a schema id that it does not know",
    ),
    Row(
        "operator",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Read",),
        "`commands list` and `commands revoke` are refused",
    ),
    Row(
        "operator",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Write",),
        "`commands` and `job cancel` are refused",
    ),
    *(
        Row(
            "operator",
            "topic",
            source.topic(DOCUMENTED),
            "literal",
            ("Read",),
            f"`sink rewind --table {source.table}` is refused",
        )
        for source in (EVENTS, *LOW_VOLUME)
    ),
    Row("operator", "topic", "<prefix>jobs.alerts", "literal", ("Write",), "`budgets check --send` is refused"),
    Row("operator", "group", "<sink.group>", "prefixed", ("Read",), "`sink rewind` is refused"),
    Row(
        "topics",
        "topic",
        "<prefix>jobs.",
        "prefixed",
        ("Describe", "DescribeConfigs"),
        "`topics list` and `topics apply` are refused",
    ),
    Row(
        "topics",
        "topic",
        "<prefix>jobs.",
        "prefixed",
        ("Create", "AlterConfigs", "Alter"),
        "`topics apply` cannot create a topic, correct its settings, or grow it",
    ),
    Row(
        "topics",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Write",),
        "`topics apply` cannot announce the schemas of its release",
    ),
    Row(
        "topics",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Read",),
        "`topics apply --grow` is refused",
    ),
    Row(
        "doctor",
        "topic",
        "<prefix>jobs.",
        "prefixed",
        ("Describe", "DescribeConfigs"),
        "the checks of the topics and of what waits in them are warnings",
    ),
    Row(
        "doctor",
        "topic",
        "<prefix>jobs.commands",
        "literal",
        ("Read",),
        "the checks of growing topics and of commands are warnings",
    ),
    Row(
        "doctor",
        "topic",
        "<prefix>jobs.heartbeats",
        "literal",
        ("Read",),
        "the check of the workers is a warning",
    ),
    Row(
        "doctor",
        "group",
        "<worker.group>.",
        "prefixed",
        ("Describe",),
        "the check of the lanes is a warning",
    ),
    Row(
        "doctor",
        "group",
        "<sink.group>",
        "prefixed",
        ("Describe",),
        "the check of the sink's lag is a warning",
    ),
    Row(
        "doctor",
        "group",
        "<prefix>tracker",
        "literal",
        ("Describe",),
        "the check of the tracker's lag is a warning",
    ),
    Row(
        "doctor",
        "cluster",
        CLUSTER_NAME,
        "literal",
        ("DescribeConfigs",),
        "the check of the brokers' settings is a warning",
    ),
)


def rights(roles: Iterable[Role], names: Names) -> list[Right]:
    """Every right of these roles, each with the names of the resources, in the order of the table."""
    wanted = set(roles)
    return [
        Right(row, name, operation)
        for row in ROWS
        if row.role in wanted
        for name in names.of(row.name)
        for operation in row.operations
    ]


def markdown(rows: Iterable[Row] = ROWS) -> str:
    """The table of the documentation."""
    lines = ["| who | resource | name | pattern | operations | without it |", "|---|---|---|---|---|---|"]
    for row in rows:
        without = row.without + ("; the service ends" if row.vital else "")
        cells = (row.role, row.kind, f"`{row.name}`", row.pattern, ", ".join(row.operations), without)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def kafka_acls(principal: str, found: Iterable[Right], bootstrap: str) -> list[str]:
    """The commands of Kafka that give these rights to a principal: one for each resource."""
    operations: dict[tuple[Kind, str, Pattern], list[str]] = {}
    for each in found:
        place = (each.row.kind, each.name, each.row.pattern)
        given = operations.setdefault(place, [])
        if each.operation not in given:
            given.append(each.operation)
    return [
        " ".join(
            (
                f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties --add",
                f"--allow-principal '{principal}'",
                *(f"--operation {each}" for each in given),
                "--cluster" if kind == "cluster" else f"--{kind} '{name}' --resource-pattern-type {pattern}",
            )
        )
        for (kind, name, pattern), given in operations.items()
    ]
