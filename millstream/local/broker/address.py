"""A broker that somebody else runs."""

from typing import Literal


class Address:
    """The addresses of brokers that run already; starting and stopping them is not ours."""

    kind: Literal["address"] = "address"
    limits: tuple[str, ...] = ()

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""
