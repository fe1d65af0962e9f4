"""Whose jobs came lately, and so whether a tenant has its worker to itself."""

ALONE_AFTER_S = 30.0
"""How long after the last job of another tenant a tenant is alone."""


class LatestJobs:
    """What the jobs that were read lately differ in. Pure and not thread-safe. Times are seconds, monotonic."""

    def __init__(self) -> None:
        self._tenant = self._lane = self._job_type = ""
        self._two_tenants_at = self._two_types_at = float("-inf")

    def note(self, tenant: str, lane: str, job_type: str, now: float) -> None:
        """A job was read."""
        if tenant != self._tenant or lane != self._lane:
            if self._tenant:
                self._two_tenants_at = now
            self._tenant, self._lane = tenant, lane
        if job_type != self._job_type:
            if self._job_type:
                self._two_types_at = now
            self._job_type = job_type

    def is_other(self, tenant: str, lane: str) -> bool:
        """Whether a job would be of another tenant or lane than the latest one."""
        return tenant != self._tenant or lane != self._lane

    def is_other_type(self, job_type: str) -> bool:
        """Whether a job would be of another type than the latest one."""
        return job_type != self._job_type

    def one_tenant(self, now: float) -> bool:
        """Whether all jobs lately were one tenant's, in one lane."""
        return now - self._two_tenants_at > ALONE_AFTER_S

    def one_type(self, now: float) -> bool:
        """Whether all jobs lately were of one type."""
        return now - self._two_types_at > ALONE_AFTER_S
