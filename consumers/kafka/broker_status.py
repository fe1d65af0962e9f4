"""Whether brokers answer, by what the clients of a service say every few seconds."""

import json
import threading
import time

import structlog

log = structlog.get_logger(__name__)

BROKERS_INTERVAL_MS = 5_000
"""How often a client says which brokers are connected, in milliseconds."""

AWAY_AFTER_S = 10.0
"""How long no client may be connected before brokers count as away, in seconds."""

SAY_AGAIN_S = 60.0


class BrokerStatus:
    """Which clients are connected to a broker, also while nothing is to be written. Thread-safe.

    That no broker answers is a line in the log, after `AWAY_AFTER_S` seconds and then once a minute, and so is that one
    answers again. Times are seconds, monotonic.
    """

    def __init__(self) -> None:
        self._noting = threading.Lock()
        self._connected_at: dict[str, float] = {}
        self._said_at: float | None = None

    def read_statistics(self, client: str, text: str) -> None:
        """Take from librdkafka's statistics of a client whether it is connected."""
        self.note(client, is_connected(json.loads(text)), time.monotonic())

    def note(self, client: str, connected: bool, now: float) -> None:
        """A client said whether it has a connection to any broker."""
        with self._noting:
            if connected or client not in self._connected_at:
                self._connected_at[client] = now
            away_s = now - max(self._connected_at.values())
            if away_s > AWAY_AFTER_S:
                if self._said_at is None or now - self._said_at >= SAY_AGAIN_S:
                    self._said_at = now
                    log.warning("brokers_unavailable", for_s=round(away_s), action="trying again")
            elif connected and self._said_at is not None:
                self._said_at = None
                log.info("brokers_available")

    def problems(self) -> list[str]:
        """Why the service is not ready; empty while a client is connected, and before there is one."""
        with self._noting:
            connected_at = max(self._connected_at.values(), default=None)
        if connected_at is None or (away_s := time.monotonic() - connected_at) <= AWAY_AFTER_S:
            return []
        return [f"no broker has answered for {away_s:.0f} s"]


def is_connected(statistics: dict[str, object]) -> bool:
    """Whether statistics of librdkafka, decoded, show a connection to a broker."""
    brokers = statistics.get("brokers")
    return isinstance(brokers, dict) and any(each.get("state") == "UP" for each in brokers.values())
