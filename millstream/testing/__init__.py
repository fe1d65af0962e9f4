"""Test handlers, and code that submits jobs, without Kafka (docs/testing.md).

result = run_handler(render, {"report": 7}, tenant="acme")
assert result.succeeded

with InMemoryClient() as client:
    order_reports(client)
    client.run_pending()
    assert not client.dead_letters

Payloads are written and validated, and outcomes are decided, by the code of the clients and of the worker.
"""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.testing.context import ProgressCall, RecordingContext
    from millstream.testing.handlers import fake_context, run_handler, run_handler_async
    from millstream.testing.in_memory import EndlessSubmissions, InMemoryAsyncClient, InMemoryClient, SubmittedJob
    from millstream.testing.result import HandlerResult
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "context": ("ProgressCall", "RecordingContext"),
            "handlers": ("fake_context", "run_handler", "run_handler_async"),
            "in_memory": ("EndlessSubmissions", "InMemoryAsyncClient", "InMemoryClient", "SubmittedJob"),
            "result": ("HandlerResult",),
        },
    )

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
