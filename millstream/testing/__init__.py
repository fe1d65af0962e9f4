"""Test handlers, and code that submits jobs, without Kafka (docs/testing.md).

result = run_handler(render, {"report": 7}, tenant="acme")
assert result.succeeded

with InMemoryClient() as client:
    order_reports(client)
    client.run_pending()
    assert not client.dead_letters

Payloads are written and validated, and outcomes are decided, by the code of the clients and of the worker.
"""

from millstream.testing.context import ProgressCall, RecordingContext
from millstream.testing.handlers import fake_context, run_handler, run_handler_async
from millstream.testing.in_memory import EndlessSubmissions, InMemoryAsyncClient, InMemoryClient, SubmittedJob
from millstream.testing.result import HandlerResult

__all__ = [
    "EndlessSubmissions",
    "HandlerResult",
    "InMemoryAsyncClient",
    "InMemoryClient",
    "ProgressCall",
    "RecordingContext",
    "SubmittedJob",
    "fake_context",
    "run_handler",
    "run_handler_async",
]
