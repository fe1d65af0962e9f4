"""A project whose packages are named like our folders works with `millstream worker`."""

import os
import signal
import sys
from pathlib import Path

from millstream.local.broker import Broker
from millstream.local.process import ChildProcess
from millstream.producers import JobClient, NewJob
from millstream.schemas import KafkaConnection, TopicCatalogue
from tests.support.eventlog import EventLog

HANDLERS = """
from pydantic import BaseModel
from analytics import ANSWER
from consumers import ANSWER as A
from schemas import Question
from streams import ANSWER as B
from millstream import JobContext, job

@job("project.ask")
async def ask(question: Question, context: JobContext) -> None:
    assert question.answer == ANSWER == A == B == 42
    context.log.info("asked", answer=question.answer)
"""


def write_project(folder: Path) -> None:
    for name in ("schemas", "streams", "consumers", "analytics", "producers"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("ANSWER = 42\n")
    (folder / "schemas" / "__init__.py").write_text(
        "from pydantic import BaseModel\nclass Question(BaseModel):\n    answer: int\n"
    )
    (folder / "handlers.py").write_text(HANDLERS)


def test_packages_named_like_ours_do_not_get_in_each_others_way(
    kafka: Broker, topics: TopicCatalogue, tmp_path: Path
) -> None:
    write_project(tmp_path)
    connection = KafkaConnection(kafka.bootstrap)
    with JobClient(connection, topics) as client:
        ids = client.submit_many([NewJob("project.ask", {"answer": 42}) for _ in range(20)])
    settings = {"MILLSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap, "MILLSTREAM_TOPICS__PREFIX": topics.prefix}
    worker = ChildProcess(
        [sys.executable, "-m", "millstream", "worker", "handlers", "--name", "w1"],
        env={**os.environ, **settings, "MILLSTREAM_WORKER__GROUP": f"{topics.prefix}workers"},
        cwd=tmp_path,
    )
    with worker:
        log = EventLog(kafka.bootstrap, topics.events)
        log.until_finished(ids)
        log.close()
        worker.terminate()
        assert worker.wait(30) == 0, worker.tail
    assert {event.kind for event in log.events} == {"submitted", "started", "succeeded"}, worker.tail
    assert '"event": "asked"' in worker.tail
    assert worker.returncode != -signal.SIGKILL
