"""Everything that can be set about a tracker."""

from pydantic import BaseModel, ConfigDict, Field


class TrackerConfig(BaseModel):
    """The tracker, which keeps the current state of each job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address on which the tracker answers.")
    port: int = Field(6066, ge=0, le=65535, description="Port on which the tracker answers.")
    public_url: str = Field("", description="Where others reach the tracker; made of host and port when empty.")
    retention_s: float = Field(
        86_400.0, gt=0, description="How long a finished job is remembered, in seconds; ClickHouse knows it longer."
    )
    batch: int = Field(2_000, ge=1, description="Events taken at once.")
    batch_within_s: float = Field(0.1, gt=0, description="Longest wait for a batch to fill, in seconds.")
    replicas: int = Field(1, ge=1, description="Replicas of the topics that the tracker makes for itself.")

    @property
    def url(self) -> str:
        """Where to ask this tracker."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"
