"""Which jobs are to be cancelled: when their turn comes, or now. Pure."""

MAX_REMEMBERED = 100_000


class Cancellations:
    """Reasons by job id. The oldest are dropped beyond `limit`. Not thread-safe."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._reasons: dict[str, str] = {}

    def add(self, job_id: str, reason: str) -> None:
        """Cancel a job whenever it starts."""
        while len(self._reasons) >= self._limit:
            del self._reasons[next(iter(self._reasons))]
        self._reasons[job_id] = reason

    def revoke(self, job_id: str) -> None:
        """Let a job run after all; nothing to do when it was not to be cancelled."""
        self._reasons.pop(job_id, None)

    def get(self, job_id: str) -> str | None:
        """Why the job is to be cancelled; None when it is not."""
        return self._reasons.get(job_id)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._reasons

    def __len__(self) -> int:
        return len(self._reasons)
