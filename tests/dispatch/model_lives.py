"""The lives of a dispatcher: it is dropped between any two transactions, and its database is opened again."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from model_gateways import PRICE, Asked, Fickle, Truth
from offices import Clock, Office, rule

from triggers.dispatch.promises import CLASSES
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from triggers.dispatch.gateway import Outgoing

SHOP: Final = {"caps": {"marketing": ["2 / 1d"], "all": ["3 / 1d"]}}
RULES: Final = (rule("r"), rule("q"))
PRICE_IN_YUAN: Final = Decimal(PRICE) / 100_000
WITHIN_S: Final = 20.0
ROWS: Final = "SELECT seq, state, * FROM outbox ORDER BY seq"


class Fuse(Writer):
    """A writer that dies: after so many transactions nothing is written, and nobody hears of anything, any more.

    ``heard`` is how many transactions more are written and answered; the next one is written if ``writes_last``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection.execute("PRAGMA synchronous = OFF")  # it is the process that dies, not the machine
        self.heard: int | None = None
        self.writes_last = False
        self.died = asyncio.Event()

    def submit(self, work: Callable[[Any], Any]) -> Future[Any]:
        """Write, unless it is dead."""
        if self.heard is None:
            return super().submit(work)
        self.heard -= 1
        if self.heard >= 0:
            return super().submit(work)
        if self.heard == -1 and self.writes_last:
            super().submit(work)
        self.died.set()
        return Future()


class Lives:
    """One dispatcher after the other on one database. ``wrong`` lists what was seen that must not be."""

    def __init__(self, seed: int, path: Path) -> None:
        self.truth = Truth(seed)
        self.path = path
        self.clock = Clock()
        self.wrong: list[str] = []
        self.side: set[asyncio.Task[None]] = set()
        self.crashes = 0
        self.office = self.open()

    async def during(self, gateway: str, message: Outgoing) -> None:
        """Let something happen while a message is leaving."""
        raise NotImplementedError

    def open(self) -> Office:
        """Begin a life of the dispatcher."""
        first = Asked("first", self.truth, self.during)
        second = Fickle("second", self.truth, self.during, billing="delivered")
        routes = dict.fromkeys(CLASSES, ("first", "second")) | {"verification": ("second", "first")}
        return Office(
            self.path,
            first,
            second,
            rules=RULES,
            shop=SHOP,
            settings={"price": PRICE_IN_YUAN},
            clock=self.clock,
            writer=Fuse,
            routes=routes,
        )

    def close(self) -> None:
        """End it all."""
        self.office.close()

    @property
    def fuse(self) -> Fuse:
        """The writer of this life."""
        assert isinstance(self.office.writer, Fuse)
        return self.office.writer

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on while messages leave."""
        task = asyncio.create_task(work)
        self.side.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.side.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.wrong.append(f"what went on beside failed: {task.exception()!r}")

    async def live(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something, and begin a new life where the dispatcher died over it."""
        doing, dying = asyncio.create_task(work), asyncio.create_task(self.fuse.died.wait())
        while not self.fuse.died.is_set() and (going := [task for task in (doing, *self.side) if not task.done()]):
            done, _ = await asyncio.wait([*going, dying], timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            assert done, "it hangs"
        dying.cancel()
        if self.fuse.died.is_set():
            await self.restart(doing)
        else:
            doing.result()

    async def restart(self, doing: asyncio.Task[None]) -> None:
        """Drop the dispatcher where it is, and open its database again."""
        self.crashes += 1
        dead = self.office
        tasks = [doing, *self.side, *dead.dispatch.dispatcher._carrying]  # noqa: SLF001  a process that is killed
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.side.clear()
        dead.writer.close()
        before = dead.reader.execute(ROWS).fetchall()
        dead.reader.close()
        self.office = self.open()
        if self.office.reader.execute(ROWS).fetchall() != before:
            self.wrong.append("a restart changed rows")
        self.office.dispatch.dispatcher.recover()
        after = self.office.reader.execute(ROWS).fetchall()
        changed = {old[:2] for old, new in zip(before, after, strict=True) if old != new}
        if changed != {row[:2] for row in before if row[1] == "sending"}:
            self.wrong.append("the recovery changed other rows than those that were leaving")
        await self.office.dispatch.upkeep.begin()

    def kill(self, heard: int, *, writes_last: bool = False) -> None:
        """Let the dispatcher die after so many transactions."""
        if not self.truth.healthy and self.fuse.heard is None:
            self.fuse.writes_last = writes_last
            self.fuse.heard = heard

    @contextmanager
    def another(self) -> Iterator[None]:
        """Write what others than the dispatcher write, in transactions of their own."""
        alive, self.fuse.heard = self.fuse.heard, None
        yield
        self.fuse.heard = alive
