"""Submitting jobs."""

from millstream.producers.async_client import AsyncJobClient
from millstream.producers.client import JobClient
from millstream.producers.commands import OrderNotTaken, OrdersUnreadable, give_order, standing_orders
from millstream.producers.delivery import SubmitError
from millstream.producers.request import InvalidJob, NewJob

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
