"""The table of least rights: the documentation, the printed commands and the check follow from the same rows."""

from millstream.rights.check import RightsMissing, vital
from millstream.rights.table import ROWS, Names, kafka_acls, markdown, rights
from millstream.schemas import TopicCatalogue
from tests.support.rights_table import documented_table

NAMES = Names(TopicCatalogue("acme."), ("high", "bulk"), "acme-workers", "acme-sink")


def test_the_page_holds_the_table() -> None:
    assert documented_table() == markdown()


def test_every_right_of_a_worker_is_on_names_as_configured() -> None:
    found = {each.name for each in rights(["worker"], NAMES)}
    assert {"acme.jobs.high", "acme.jobs.bulk.overflow", "acme-workers.", "acme.worker-"} <= found
    assert not any("<" in name for name in found)


def test_one_command_gives_all_operations_on_a_resource() -> None:
    lines = kafka_acls("User:alice", rights(["worker"], NAMES), "broker:9093")
    (lane,) = (line for line in lines if "'acme.jobs.high'" in line)
    assert "--operation Read --operation Write" in lane
    assert "--allow-principal 'User:alice'" in lane and "--resource-pattern-type literal" in lane
    (cluster,) = (line for line in kafka_acls("User:d", rights(["doctor"], NAMES), "b:1") if "--cluster" in line)
    assert "--resource-pattern-type" not in cluster


def test_a_worker_that_may_read_some_of_its_lanes_has_work_to_do() -> None:
    wanted = rights(["worker"], NAMES)
    lanes = [each for each in wanted if each.row.name == "<prefix>jobs.<lane>" and each.operation == "Read"]
    assert len(lanes) == 2
    assert vital(lanes[:1], wanted) == []
    assert vital(lanes, wanted) == lanes


def test_an_error_names_user_operation_and_resource_of_all_that_is_missing() -> None:
    wanted = rights(["tracker"], NAMES)
    text = str(RightsMissing("ted", wanted))
    assert "user 'ted' has no right to Write topic acme.jobs.states" in text
    assert "user 'ted' has no right to Read group acme.tracker" in text


def test_every_row_says_what_does_not_work_without_it() -> None:
    assert all(row.without for row in ROWS)
