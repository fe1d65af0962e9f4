"""Submitting jobs."""

from typing import TYPE_CHECKING

from millstream.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from millstream.producers.async_client import AsyncJobClient
    from millstream.producers.client import JobClient
    from millstream.producers.commands import OrderNotTaken, OrdersUnreadable, give_order, standing_orders
    from millstream.producers.delivery import SubmitError
    from millstream.producers.request import InvalidJob, NewJob
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "async_client": ("AsyncJobClient",),
            "client": ("JobClient",),
            "commands": ("OrderNotTaken", "OrdersUnreadable", "give_order", "standing_orders"),
            "delivery": ("SubmitError",),
            "request": ("InvalidJob", "NewJob"),
        },
    )

__all__ = [
    "AsyncJobClient",
    "InvalidJob",
    "JobClient",
    "NewJob",
    "OrderNotTaken",
    "OrdersUnreadable",
    "SubmitError",
    "give_order",
    "standing_orders",
]
