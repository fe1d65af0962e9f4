"""How the dead letters of a sink are sent."""

from typing import Any

import pytest

from millstream.consumers.sink import dead_letters
from millstream.consumers.sink.dead_letters import LETTER_BYTES_AT_ONCE, LETTERS_AT_ONCE, DeadLetterSender
from millstream.consumers.sink.rejected import RejectedRecord
from millstream.schemas import Codec, DeadLetter, KafkaConnection, PinnedRegistry, TopicCatalogue

CODEC = Codec(PinnedRegistry())


class ScriptedProducer:
    """Delivers what it has when it is flushed, and notes how many records and bytes it had then."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.flushed: list[tuple[int, int]] = []
        self.offsets: list[int] = []
        self._waiting: list[Any] = []
        self._bytes = 0

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any) -> None:
        self._waiting.append(on_delivery)
        self._bytes += len(value)
        self.offsets.append(CODEC.decode(value, DeadLetter).offset)

    def flush(self, timeout: float) -> int:
        self.flushed.append((len(self._waiting), self._bytes))
        for delivered in self._waiting:
            delivered(None, object())
        self._waiting, self._bytes = [], 0
        return 0


@pytest.mark.parametrize("size", [0, 100, 1_000_000, LETTER_BYTES_AT_ONCE + 1])
def test_letters_in_memory_are_bounded_in_number_and_bytes_and_none_is_left_out(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    made: list[ScriptedProducer] = []

    def connect(settings: dict[str, Any]) -> ScriptedProducer:
        made.append(ScriptedProducer(settings))
        return made[-1]

    monkeypatch.setattr(dead_letters, "Producer", connect)
    sender = DeadLetterSender(KafkaConnection("nowhere"), TopicCatalogue(), CODEC, "sink", "jobs.events", str)
    count = LETTERS_AT_ONCE + 20
    sender.send(0, [RejectedRecord(offset, b"", b"x" * size, "why") for offset in range(count)])
    (producer,) = made
    assert producer.offsets == list(range(count))
    envelope = 1_000
    for letters, total in producer.flushed:
        assert letters <= LETTERS_AT_ONCE
        assert letters == 1 or total <= LETTER_BYTES_AT_ONCE + letters * envelope
