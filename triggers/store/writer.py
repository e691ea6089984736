"""The one thread that writes: what is waiting is done in one transaction, and answered after it is on the disk.

A commit costs one sync of the disk however much is in it, so everything that waits is committed together. Each piece of
work has its own savepoint: one that fails is undone alone and its neighbours are kept. Another process that writes to the
file is waited for, since a shell or a VACUUM ends sooner or later.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import structlog

from triggers.errors import ServiceUnusable
from triggers.store.database import BUSY_TIMEOUT_MS, connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_Item: TypeAlias = "tuple[Callable[[sqlite3.Connection], Any], Future[Any]]"

MAX_IN_A_COMMIT = 256
LOCK_WAIT_S: Final = 60.0
"""How long another process may keep the database locked before the service ends."""
_PRIMARY: Final = 0xFF
"""The part of SQLite's codes that names the kind of an error."""

_log = structlog.get_logger("store")


class Writer:
    """Takes pieces of work from any thread. Start it, submit, close it.

    ``committed`` is told the seconds of each commit; ``failed`` is called once, with the reason, if the disk refuses, or
    another process keeps the database locked for ``lock_wait_s``: after that nothing is taken any more. The lock is tried
    for ``lock_try_ms`` at a time; once the writer is to hurry there is one more try.
    """

    def __init__(
        self,
        path: Path,
        *,
        committed: Callable[[float], object] = lambda _seconds: None,
        failed: Callable[[ServiceUnusable], object] = lambda _error: None,
        lock_wait_s: float = LOCK_WAIT_S,
        lock_try_ms: int = BUSY_TIMEOUT_MS,
    ) -> None:
        self._path = path
        self._committed = committed
        self._failed = failed
        self._lock_wait_s = lock_wait_s
        self._connection = connect(path)
        self._connection.execute(f"PRAGMA busy_timeout = {lock_try_ms}")
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._patient = True
        self._fault: ServiceUnusable | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many pieces of work are not begun yet."""
        return len(self._waiting)

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Have ``work`` done in a transaction; the future is set once that is on the disk, or holds what went wrong."""
        future: Future[T] = Future()
        with self._changed:
            if self._fault is not None or self._closing:
                future.set_exception(self._fault or ServiceUnusable("the database is closed"))
                return future
            self._waiting.append((work, future))
            self._changed.notify()
        return future

    def hurry(self) -> None:
        """Wait for another process no longer than one more try each: the service is about to end."""
        self._patient = False

    def close(self) -> None:
        """Finish what is waiting, then close the database. Safe to call twice."""
        self.hurry()
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            began = time.perf_counter()
            try:
                answers = self._commit(group)
            except (sqlite3.Error, MemoryError) as error:
                self._give_up(group, error)
                break
            self._committed(time.perf_counter() - began)
            for future, result, fault in answers:
                if fault is None:
                    future.set_result(result)
                else:
                    future.set_exception(fault)
        self._connection.close()

    def _take(self) -> list[_Item]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_IN_A_COMMIT))]

    def _commit(self, group: list[_Item]) -> list[tuple[Future[Any], Any, Exception | None]]:
        connection = self._connection
        answers: list[tuple[Future[Any], Any, Exception | None]] = []
        self._begin()
        for work, future in group:
            if not future.set_running_or_notify_cancel():
                continue
            connection.execute("SAVEPOINT piece")
            try:
                result = work(connection)
            except Exception as error:
                if not connection.in_transaction:  # a full or broken disk undid everything
                    raise sqlite3.OperationalError(str(error)) from error
                connection.execute("ROLLBACK TO piece")
                answers.append((future, None, error))
            else:
                answers.append((future, result, None))
            connection.execute("RELEASE piece")
        connection.execute("COMMIT")
        return answers

    def _begin(self) -> None:
        """Begin a transaction once no other process is writing. Raises sqlite3.Error."""
        began, told = time.monotonic(), False
        while True:
            last = not self._patient
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                waited_s = time.monotonic() - began
                if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY:
                    raise
                if last or waited_s >= self._lock_wait_s:
                    raise sqlite3.OperationalError(
                        f"another process has kept it locked for {waited_s:.0f} s; end what writes to it (a database shell,"
                        " a VACUUM, a copy), then start again"
                    ) from error
            else:
                return
            if not told:
                told = True
                _log.warning(
                    "another process is writing the database; nothing is stored until it is done",
                    waited_s=round(waited_s, 1),
                    ends_after_s=self._lock_wait_s,
                )

    def _give_up(self, group: list[_Item], error: Exception) -> None:
        fault = ServiceUnusable(f"the database {self._path} cannot be written: {error}")
        with self._changed:
            self._fault = fault
            rest = [*group, *self._waiting]
            self._waiting.clear()
        if self._connection.in_transaction:
            self._connection.rollback()
        for _, future in rest:
            if not future.done():
                future.set_exception(fault)
        self._failed(fault)
