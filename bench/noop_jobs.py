"""The no-op job: its rate is limited by the cost of the platform alone."""

from millstream import job


@job("bench.noop")
async def noop(payload: dict[str, int]) -> None: ...
