"""What the transport hands over: chunks, some thousand records of one partition that follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from faust.serializers.schemas import Schema
from faust.types.tuples import TP, ConsumerMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiokafka import ConsumerRecord, TopicPartition


class ChunkSchema(Schema[Any, Any]):
    """The schema of a topic read in chunks: nothing is decoded, an event's value is a list of ConsumerRecord."""

    def compile(self, app: Any, **_options: Any) -> Callable[..., Awaitable[Any]]:
        """Make what turns a message into an event."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001  Faust asks for both
            return app.create_event(None, message.value, None, message)

        return decode


class Chunk(ConsumerMessage):
    """Records of one partition that follow each other: number ``number`` of its epoch."""

    def __init__(self, tp: TP, records: Sequence[ConsumerRecord], epoch: int, number: int, generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1_000,
            last.timestamp_type,
            None,
            None,
            cast("Any", records),
            None,
            tp=tp,
            generation_id=generation,
        )
        self.epoch = epoch
        self.number = number
        self.next_offset = last.offset + 1
        self.arrived = False
        self.handed_over: int | None = None


class Fetched(NamedTuple):
    """What one look brought: records, and where each partition stands after them (past what is not shown to readers)."""

    epoch: int
    records: dict[TopicPartition, list[ConsumerRecord]]
    places: dict[TopicPartition, int]
