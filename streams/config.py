"""The settings of a tracker."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from millstream.listening import HttpGuard


class TrackerConfig(BaseModel):
    """The tracker, which keeps the current state of each job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address that the HTTP API listens on.")
    port: int = Field(6066, ge=0, le=65535, description="Port of the HTTP API.")
    public_url: str = Field(
        "",
        pattern=r"^[^@]*$",
        description="URL at which others reach the tracker; made from host and port when empty.",
    )
    token: SecretStr = Field(
        SecretStr(""),
        description="What a request must carry as `Authorization: Bearer TOKEN`; `millstream job` sends it. Required "
        "when `host` is not a loopback address. Trackers of one topic prefix need the same.",
    )
    retention_s: float = Field(
        86_400.0,
        gt=0,
        description="How long the state of a finished job is kept, in seconds; ClickHouse keeps it longer.",
    )
    batch: int = Field(2_000, ge=1, description="Most events of a batch.")
    batch_within_s: float = Field(0.1, gt=0, description="Longest wait for a batch to fill, in seconds.")
    replicas: int = Field(1, ge=1, description="Replicas of the topics that the tracker creates.")

    @property
    def url(self) -> str:
        """The URL of this tracker."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    def http_guard(self) -> HttpGuard:
        """Who may ask the API. Raises `UnprotectedListener`."""
        return HttpGuard(self.host, self.token.get_secret_value(), settings=("tracker.host", "tracker.token", ""))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a request to this tracker needs."""
        token = self.token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}
