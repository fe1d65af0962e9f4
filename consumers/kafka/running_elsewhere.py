"""What a worker that gave a partition back still runs of it, as text in a commit.

The text names its place: cluster, topic, partition and the offset under which it was committed. A tool that copies
commits to another cluster copies the text and translates the offset, so a text at another place is ignored. The same
offset on another cluster is another place: another job may be there. Pure.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

ANNOUNCED = "h"
"""What the metadata of a partition's own commit begins with while jobs of it run at an earlier owner, so that nobody
else looks for announcements."""

_VERSION = "h1:"


@dataclass(frozen=True, slots=True)
class RunningElsewhere:
    """Offsets of one partition whose jobs its previous owner runs.

    `start`: the offset under which this is committed. `worker_id`: the previous owner. `transactional_id`: of the
    producer that writes the outcomes of these jobs, so whoever opens it ends the previous owner's right to write them.
    `until`: when the previous owner gives back what it has not finished, in seconds since 1970. `running`: offsets that
    it runs. `finished`: offsets whose outcome it has written since. `cluster_id`: empty where the brokers do not
    tell it.
    """

    topic: str
    partition: int
    start: int
    worker_id: str
    transactional_id: str
    until: float
    running: frozenset[int]
    finished: frozenset[int] = frozenset()
    cluster_id: str = ""

    def after(self, finished: Iterable[int], given_back: Iterable[int] = ()) -> Self:
        """The same after more offsets were finished, and others were given back to be run by the next owner."""
        done = frozenset(finished)
        return replace(self, running=self.running - done - frozenset(given_back), finished=self.finished | done)

    def extended(self, by_s: float) -> Self:
        """The same with a later end."""
        return replace(self, until=self.until + by_s)

    def text(self) -> str:
        """What a commit carries."""
        fields = {
            "place": [self.topic, self.partition, self.start],
            # Beside the place, where releases that do not know it ignore it.
            "cluster": self.cluster_id,
            "worker": self.worker_id,
            "id": self.transactional_id,
            "until": self.until,
            "running": _differences(self.running, self.start),
            "finished": _differences(self.finished, self.start),
        }
        packed = zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 9)
        return _VERSION + base64.b85encode(packed).decode()

    @classmethod
    def parse(cls, text: str, topic: str, partition: int, offset: int, cluster_id: str = "") -> Self:
        """Read the text of the commit at this place. Raises ValueError when it is damaged or of another place. A text
        without a cluster was written by a release that did not name it, on this cluster."""
        if not text.startswith(_VERSION):
            raise ValueError("unknown version")
        try:
            fields: dict[str, Any] = json.loads(zlib.decompress(base64.b85decode(text.removeprefix(_VERSION))))
            if fields["place"] != [topic, partition, offset]:
                raise ValueError(f"it was written for another place: {fields['place']}")
            if fields.get("cluster", cluster_id) != cluster_id:
                raise ValueError(f"it was written for another place: cluster {fields['cluster']}")
            return cls(
                topic,
                partition,
                offset,
                str(fields["worker"]),
                str(fields["id"]),
                float(fields["until"]),
                _offsets(fields["running"], offset),
                _offsets(fields["finished"], offset),
                cluster_id,
            )
        except (KeyError, TypeError, zlib.error) as error:
            raise ValueError(f"damaged: {error!r}") from error


def _differences(offsets: Iterable[int], start: int) -> list[int]:
    """Each offset as its distance from the one before, which compresses well."""
    distances, before = [], start
    for offset in sorted(offsets):
        distances.append(offset - before)
        before = offset
    return distances


def _offsets(distances: list[int], start: int) -> frozenset[int]:
    found, offset = [], start
    for distance in distances:
        offset += distance
        found.append(offset)
    return frozenset(found)
