"""A Kafka broker on this machine: an address when one is given, else Apache Kafka, else Tansu."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from millstream.local.broker.address import Address
from millstream.local.broker.apache import ApacheKafka, missing_for_apache
from millstream.local.broker.tansu import Tansu, missing_for_tansu

__all__ = ["ApacheKafka", "Broker", "BrokerUnavailable", "Tansu", "choose_broker"]

_ADDRESS = re.compile(r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")


class BrokerUnavailable(RuntimeError):
    """The requested broker cannot run on this machine; the text says why and what to do."""


class Broker(Protocol):
    """A broker to connect to. `limits`: sentences about what it does not support, empty for Apache Kafka."""

    @property
    def kind(self) -> Literal["address", "apache", "tansu"]: ...

    @property
    def limits(self) -> tuple[str, ...]: ...

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, separated by commas; known after `start`."""

    def start(self) -> None:
        """Start it and return when it responds. Raises RuntimeError with the end of its log when it does not."""

    def restart_ended(self) -> list[str]:
        """Start again what `start` started and has ended, without waiting for it; returns a sentence for each. Raises
        `DidNotStart` when its data are gone."""

    def stop(self) -> None:
        """Stop what `start` started. Idempotent."""


def choose_broker(
    choice: str,
    folder: Path,
    nodes: int = 1,
    say: Callable[[str], None] = lambda _: None,
    *,
    light: bool = False,
    port: int | None = None,
) -> Broker:
    """The broker for `--broker CHOICE`, not started yet. `say` receives progress messages for the user; `light` and
    `port` are those of `ApacheKafka`.

    `auto` takes Apache Kafka where Java 17+ and Maven are on the PATH, else Tansu. Raises `BrokerUnavailable`.
    """
    if nodes not in (1, 3):
        raise BrokerUnavailable(f"{nodes} nodes: a local Kafka has 1 or 3")
    if _ADDRESS.match(choice):
        return Address(choice)
    if choice not in ("auto", "apache", "tansu"):
        raise BrokerUnavailable(f"--broker {choice!r} is neither auto, apache, tansu nor HOST:PORT")
    no_apache = missing_for_apache()
    if choice == "apache" or (choice == "auto" and not no_apache):
        if no_apache:
            raise BrokerUnavailable(f"Apache Kafka cannot run here: {no_apache}")
        return ApacheKafka(folder / "apache", nodes, light=light, port=port, say=say)
    if no_tansu := missing_for_tansu():
        why = f"Apache Kafka cannot run here: {no_apache}; Tansu cannot either: {no_tansu}"
        raise BrokerUnavailable(why if choice == "auto" else f"Tansu cannot run here: {no_tansu}")
    if choice == "auto":
        say(f"Tansu is used, because Apache Kafka cannot run here: {no_apache}")
    if nodes > 1:
        raise BrokerUnavailable(f"Tansu has one node, not {nodes}; Apache Kafka needs Java 17+ and Maven on the PATH")
    return Tansu(folder / "tansu", port)
