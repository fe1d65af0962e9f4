"""`millstream tracker` whose Kafka client loses every event that it fetches: alive, recovered, healthy and stalled."""

from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from millstream.cli import main
from millstream.streams import app

fetch_records = AIOKafkaConsumerThread._fetch_records


async def lose_events(self: Any, *args: Any, **kwargs: Any) -> Any:
    records = await fetch_records(self, *args, **kwargs)
    return {tp: found for tp, found in records.items() if not tp.topic.endswith("jobs.events")}


if __name__ == "__main__":
    AIOKafkaConsumerThread._fetch_records = lose_events  # type: ignore[method-assign,unused-ignore]
    app.CHECK_INTERVAL_S = 1.0  # type: ignore[attr-defined]
    main()
