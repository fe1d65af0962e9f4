"""The job that does nothing: what is left of a rate when it runs is the platform's own cost."""

from millstream import job


@job("bench.noop")
async def noop(payload: dict[str, int]) -> None: ...
