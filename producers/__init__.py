"""Submitting jobs."""

from millstream.producers.async_client import AsyncJobClient
from millstream.producers.client import JobClient
from millstream.producers.delivery import SubmitError
from millstream.producers.orders import OrderNotTaken, OrdersUnreadable, give_order, standing_orders
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
