"""A broker that is already running."""

from typing import Literal


class Address:
    """The addresses of running brokers; `start` and `stop` do nothing."""

    kind: Literal["address"] = "address"
    limits: tuple[str, ...] = ()

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    def start(self) -> None:
        """Nothing to start."""

    def restart_ended(self) -> list[str]:
        """Somebody else watches it."""
        return []

    def stop(self) -> None:
        """Nothing to stop."""
