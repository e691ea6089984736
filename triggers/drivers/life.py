"""The life of a process: its parts run as tasks and threads until a signal comes, or until one of them fails."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from triggers.errors import ServiceUnusable, TriggersError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from structlog.typing import FilteringBoundLogger


@contextmanager
def ending(ended: asyncio.Event) -> Iterator[None]:
    """Set an event when the process is told to end, SIGINT or SIGTERM; within an event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Life:
    """What keeps a process going: ``ended`` is set when it is to end, ``fault`` is what ended it, if not a signal.

    ``name`` is what people call the process. Its parts may be made before it is lived, and may fail then.
    """

    def __init__(self, name: str, log: FilteringBoundLogger) -> None:
        self.ended = asyncio.Event()
        self.fault: BaseException | None = None
        self._name = name
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def well(self) -> bool:
        """Whether all goes on."""
        return self.fault is None and not self.ended.is_set()

    @contextmanager
    def lived(self) -> Iterator[None]:
        """Listen to signals, and let other threads reach the loop; behind it raise what ended the process.

        Raises ServiceUnusable for what was not foreseen.
        """
        self._loop = asyncio.get_running_loop()
        if self.fault is not None:
            self.ended.set()
        try:
            with ending(self.ended):
                yield
        finally:
            self._loop = None
        if isinstance(self.fault, TriggersError):
            raise self.fault
        if self.fault is not None:
            raise ServiceUnusable(
                f"a part of the {self._name} failed ({type(self.fault).__name__}); the log says where"
            )

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a part on the loop."""
        return asyncio.create_task(self.guarded(work))

    async def guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Await something whose failure ends the process."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  whatever ends a part ends the process, and is raised there
            self.fail(error)

    def thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Run a part on a thread of its own."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  whatever ends a part ends the process, and is raised there
                self.fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def fail(self, error: BaseException) -> None:
        """End the process for a fault, the first one; from any thread."""
        if self.fault is None:
            self.fault = error
            if not isinstance(error, TriggersError):
                self._log.error(f"a part of the {self._name} failed", exc_info=error)
        self.on_loop(self.ended.set)

    def on_loop(self, call: Callable[[], object]) -> None:
        """Have the loop call something; from any thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # closed in between: nobody is left to be told
                loop.call_soon_threadsafe(call)
