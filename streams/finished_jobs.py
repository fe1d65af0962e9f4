"""Which finished jobs are old enough to be forgotten."""

import heapq


class FinishedJobs:
    """Finished jobs by the time at which they finished. Adding one and removing the oldest take logarithmic time, so
    that forgetting costs what is forgotten and not what is kept."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []

    def add(self, finished_at: int, job_id: str) -> None:
        """Note when a job has finished, in microseconds since 1970. May be called again for the same job."""
        heapq.heappush(self._heap, (finished_at, job_id))

    def remove_older(self, before: int, most: int) -> list[tuple[int, str]]:
        """Remove the jobs that finished before this time, the oldest first and at most so many, and return them."""
        found: list[tuple[int, str]] = []
        while self._heap and self._heap[0][0] < before and len(found) < most:
            found.append(heapq.heappop(self._heap))
        return found

    def clear(self) -> None:
        self._heap.clear()
