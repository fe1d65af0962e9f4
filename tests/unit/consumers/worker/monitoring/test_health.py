"""The probes of a worker."""

import socket
import threading
import time
import urllib.request
from types import SimpleNamespace
from typing import cast

from millstream.consumers.worker import Worker
from millstream.consumers.worker.monitoring.health import HealthServer
from millstream.consumers.worker.monitoring.metrics import Metrics
from millstream.local.ports import free_port
from millstream.schemas import WorkerState


def test_a_client_that_connects_and_says_nothing_holds_up_no_probe() -> None:
    port = free_port()
    worker = SimpleNamespace(
        config=SimpleNamespace(health_port=port, health_host="127.0.0.1"),
        metrics=Metrics(),
        ready=threading.Event(),
        stopping=threading.Event(),
        blocked=threading.Event(),
        looped_at=time.monotonic(),
        state=WorkerState.RUNNING,
    )
    with HealthServer(cast("Worker", worker)), socket.create_connection(("127.0.0.1", port)):
        time.sleep(0.1)
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=3).status == 200
