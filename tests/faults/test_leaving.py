"""Members that leave their groups at the worst moment."""

import subprocess
import sys

from millstream.local.broker import Broker
from millstream.schemas import KafkaConnection, TopicCatalogue
from millstream.topics import apply_topics
from tests.support.leaving_members import MEMBERS
from tests.support.paths import ROOT
from tests.support.scenarios import Scenario, lengths


@lengths("times", short=1, full=16)
def test_members_that_leave_before_they_handled_an_assignment_never_freeze(
    kafka: Broker, topic_prefix: str, scenario: Scenario, times: int
) -> None:
    topics = TopicCatalogue(topic_prefix, lanes=("default",), partitions=16)
    apply_topics(KafkaConnection(kafka.bootstrap), topics)
    program = [
        sys.executable,
        "-m",
        "tests.support.leaving_members",
        kafka.bootstrap,
        topics.lane("default"),
        str(times),
    ]
    ended = subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120 + 20 * times)
    assert ended.returncode == 0, ended.stderr
    scenario.figures(left=MEMBERS * times)
