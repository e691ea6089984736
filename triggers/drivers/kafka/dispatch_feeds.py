"""The three topics that a dispatcher reads, put together: in which order they take effect, and how far they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from triggers.clock import wall_ms
from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.connection import connect, saying
from triggers.drivers.kafka.dispatch_opt_outs import OptOuts
from triggers.drivers.kafka.dispatch_reading import Reader
from triggers.drivers.kafka.dispatch_topics import CommandTaker, Copied, DecisionTaker, LogTaker, Ordered
from triggers.drivers.kafka.records import COMMANDS, DECISIONS, EVENTS
from triggers.store.log_copy import LogCopy
from triggers.store.states import CANCELLED, QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping
    from contextlib import AsyncExitStack
    from typing import Any

    from triggers.dispatch.assembly import Dispatch
    from triggers.drivers.kafka.dispatch_metrics import DispatchMetrics
    from triggers.drivers.kafka.dispatch_rules import RulesInUse
    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.contacts import Contacts
    from triggers.store.fleet import Reading
    from triggers.store.writer import Writer


class Feeds:
    """Runs on the event loop. ``stored`` is how far the topics are read, ``position`` up to where all is decided.

    ``attend`` tells it whom to tell, before it is opened.
    """

    def __init__(
        self,
        settings: DispatchSettings,
        writer: Writer,
        metrics: DispatchMetrics,
        contacts: Contacts,
        rules: RulesInUse,
        *,
        stored: Mapping[tuple[str, int], Reading],
        position: int,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        log = settings.topic(EVENTS)
        clocks = {part: each.clock for (topic, part), each in stored.items() if topic == log}
        self._taker = LogTaker(LogCopy(contacts.heed), clocks, self._copied)
        self.log = Reader(settings, log, writer, self._taker)
        commands = CommandTaker(rules.month, self._ordered)
        self._commands = Reader(settings, settings.topic(COMMANDS), writer, commands)
        decisions = DecisionTaker(self._commands_ahead, position)
        self.readers = (self.log, self._commands, Reader(settings, settings.topic(DECISIONS), writer, decisions))

    def attend(self, dispatch: Dispatch, moved: Callable[[str, str, int], None], soon: Callable[[], None]) -> None:
        """Tell a dispatcher of new commands, ``moved`` of cancelled ones, and ``soon`` that somebody waits for a commit."""
        self._dispatcher = dispatch.dispatcher
        self._moved = moved
        self._opt_outs = OptOuts(dispatch.inflight, soon)

    async def open(self, starts: Mapping[str, Mapping[int, int]], opened: AsyncExitStack) -> None:
        """Connect, to read each partition from its place on. Raises ServiceUnusable."""
        opened.push_async_callback(self._opt_outs.close)
        for reader in self.readers:
            await reader.open(starts[reader.topic])
            opened.push_async_callback(reader.close)
        self._sounding = AIOKafkaConsumer(**self._settings.client_options, group_id=None)
        opened.push_async_callback(lambda: let_go(self._sounding.stop()))
        with saying(self._settings):
            await connect(self._sounding, self._settings)

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Give the work of reading."""
        return [reader.run() for reader in self.readers]

    def places(self) -> dict[tuple[str, int], int]:
        """Tell what is stored of each partition; of the log what is behind it, up to an opt-out that does not hold yet."""
        places = {(each.topic, part): at for each in self.readers for part, at in each.stored.items()}
        log = self.log
        return places | {(log.topic, part): self._opt_outs.up_to(part, at) for part, at in log.read.items()}

    def log_now(self) -> int:
        """Tell the log's time, epoch ms; before anything was read the wall's."""
        now = self._taker.now()
        return wall_ms() if now < 0 else now

    async def _commands_ahead(self, parts: Collection[int]) -> None:
        """Return once the commands are stored that some partitions have now, also those about to be committed."""
        topic = self._commands.topic
        with saying(self._settings):
            ends = await self._sounding.end_offsets([TopicPartition(topic, part) for part in parts])
        await self._commands.reached({place.partition: end for place, end in ends.items()})

    def _copied(self, copied: Copied) -> None:
        for entry in copied.entries:
            self._metrics.events.labels(entry.result).inc()
            if entry.note:
                self._metrics.early.inc()
        if copied.opted_out:
            self._opt_outs.begin(copied.opted_out, copied.opt_outs)

    def _ordered(self, ordered: Ordered) -> None:
        if ordered.new:
            self._metrics.outbox.labels(QUEUED).inc(ordered.new)
            self._dispatcher.more()
        if ordered.cancelled:
            self._moved(QUEUED, CANCELLED, ordered.cancelled)
