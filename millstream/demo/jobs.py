"""Handlers without dependencies: what `millstream up` and `millstream demo` run when no handler module is given."""

import asyncio
import hashlib
import os

from pydantic import BaseModel, Field

from millstream.consumers.worker import JobContext, job


class Sleep(BaseModel):
    """Wait for `seconds`, as for the response of a remote service."""

    seconds: float = Field(0.0, ge=0, le=3600)


class Work(BaseModel):
    """One job of the demo: wait, compute, and fail on request.

    `fails_on`: worker versions on which it fails. `fails`: the message with which it fails on every worker.
    """

    seconds: float = Field(0.0, ge=0, le=60)
    cpu_rounds: int = Field(0, ge=0, le=10_000_000)
    fails: str = ""
    fails_on: list[str] = Field(default_factory=list)


class TemplateMissing(LookupError):
    """A file is missing from the release."""


class UpstreamRefused(ConnectionError):
    """A remote service refused the connection."""


class FailedInTrace(RuntimeError):
    """The recorded job did not succeed, so its replay fails too."""


@job("demo.sleep")
async def sleep(payload: Sleep) -> None:
    await asyncio.sleep(payload.seconds)


async def _work(payload: Work) -> None:
    await _spend(payload)
    if payload.fails:
        raise UpstreamRefused(payload.fails)


async def _spend(payload: Work) -> None:
    if payload.seconds:
        await asyncio.sleep(payload.seconds)
    if payload.cpu_rounds:
        hashlib.pbkdf2_hmac("sha256", b"millstream", b"demo", payload.cpu_rounds)


@job("reports.render")
async def render(payload: Work, context: JobContext) -> None:
    version = os.environ.get("MILLSTREAM_WORKER__VERSION", "")
    if version in payload.fails_on:
        raise TemplateMissing(f"template invoice.html is not in release {version} (tenant {context.tenant})")
    await _work(payload)


@job("images.resize")
async def resize(payload: Work) -> None:
    await _work(payload)


@job("emails.send")
async def send(payload: Work) -> None:
    await _work(payload)


@job("exports.csv")
async def export(payload: Work) -> None:
    await _work(payload)


@job("trace.job")
async def replayed(payload: Work) -> None:
    """A job of a recorded trace, with its run time compressed."""
    await _spend(payload)
    if payload.fails:
        raise FailedInTrace(payload.fails)
