"""Reads along what a fleet commits: when each message that is to leave can be seen, and how far all has come."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from triggers.drivers.kafka.records import (
    ASKS,
    COMMANDS,
    DECISIONS,
    VERDICTS,
    Asked,
    Cancel,
    Come,
    Sending,
    decode_answered,
    decode_command,
    decode_question,
    decode_reported,
)

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.store.decisions import DecisionRow


class Watch:
    """A reader of what is committed, in all partitions. Times in epoch ms.

    ``commands`` and ``decided`` are all that came; ``lateness`` is how long after its instant each message was in the
    topic, ``seen`` how long until it could be read here.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._clocks: dict[int, int] = {}
        self.commands: list[Sending | Cancel] = []
        self.decided: list[DecisionRow] = []
        self.appended: dict[str, int] = {}
        self.seen: dict[str, int] = {}
        self.asked: Counter[tuple[int, str, str]] = Counter()
        self.answered: Counter[tuple[int, str, str]] = Counter()
        self.numbers: dict[int, list[int]] = {}

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            metadata_max_age_ms=5_000,
        )
        await self._consumer.start()
        many = range(settings.partitions)
        places = [
            TopicPartition(settings.topic(name), part) for name in (COMMANDS, DECISIONS, VERDICTS) for part in many
        ]
        self._consumer.assign([*places, TopicPartition(settings.topic(ASKS), 0)])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def run(self) -> None:
        """Read on and on."""
        while True:
            await self.read()

    async def read(self) -> None:
        """Read what there is."""
        takers = {
            self._settings.topic(COMMANDS): self._take_command,
            self._settings.topic(DECISIONS): self._take_reported,
            self._settings.topic(ASKS): self._take_question,
            self._settings.topic(VERDICTS): self._take_answer,
        }
        for place, records in (await self._consumer.getmany(timeout_ms=100)).items():
            take = takers[place.topic]
            for record in records:
                take(record)

    async def read_to_the_end(self) -> None:
        """Read all that there is now."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while [place for place, end in ends.items() if await self._consumer.position(place) < end]:
            await self.read()

    def _take_command(self, record: ConsumerRecord[bytes, bytes]) -> None:
        command = decode_command(record.value)
        self.commands.append(command)
        if isinstance(command, Sending):
            self.appended.setdefault(command.send.id, record.timestamp)
            self.seen.setdefault(command.send.id, time.time_ns() // 1_000_000)

    def _take_reported(self, record: ConsumerRecord[bytes, bytes]) -> None:
        reported = decode_reported(record.value)
        if isinstance(reported, Come):
            self._clocks[reported.partition] = reported.clock
        else:
            self.decided.append(reported)

    def _take_question(self, record: ConsumerRecord[bytes, bytes]) -> None:
        question = decode_question(record.value)
        if isinstance(question, Asked):
            self.asked[question.partition, question.ask.customer, question.ask.command] += 1

    def _take_answer(self, record: ConsumerRecord[bytes, bytes]) -> None:
        answer = decode_answered(record.value)
        self.answered[record.partition, answer.customer, answer.command] += 1
        self.numbers.setdefault(record.partition, []).append(answer.number)

    def came(self, partition: int) -> bool:
        """Tell whether a partition has said how far it has come."""
        return partition in self._clocks

    def slowest(self) -> int:
        """Tell how far the slowest partition has come."""
        return min((self._clocks.get(part, -1) for part in range(self._settings.partitions)), default=-1)

    def open_questions(self) -> int:
        """Count the questions without an answer."""
        return (self.asked - self.answered).total()
