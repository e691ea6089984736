"""Where a service can be killed, and ways to get it wrong: patches of the real code, in the process that is to die."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from triggers.dispatch import breaker, claiming, dispatcher, hearing, http, settling, upkeep
from triggers.dispatch.gateway import TryLater, Unknown
from triggers.dispatch.gateways import http_answers
from triggers.dispatch.inflight import InFlight
from triggers.dispatch.tidings import Tidings
from triggers.drivers.embedded import driver
from triggers.drivers.embedded.bulletin import Bulletin
from triggers.drivers.embedded.reception import Reception
from triggers.store import contacts
from triggers.store.states import QUEUED, SENDING, Settled

if TYPE_CHECKING:
    from collections.abc import Callable

SENDING_POINTS = (
    "claim: before its commit",
    "claim: after its commit",
    "send: before the first byte",
    "send: the request is written",
    "send: answered, not settled",
    "settle: before its commit",
    "settle: after its commit",
)
RECOVERY_POINTS = ("recovery: in the middle", "recovery: before its commit", "recovery: after its commit")
"""They are passed only where a life before was killed while it was sending."""
HEARING_POINTS = (
    "callback: before its commit",
    "callback: before it is answered",
    "opt-out: before its commit",
    "opt-out: committed, not waited for",
    "opt-out: before it is answered",
    "event: before its commit",
    "event: before it is answered",
    "engine: before its commit",
    "upkeep: before its commit",
)
POINTS = (*SENDING_POINTS, *RECOVERY_POINTS, *HEARING_POINTS)
OPT_OUTS = tuple(point for point in POINTS if point.startswith("opt-out"))
AT_RANDOM = "at random"

AFTER_WRITE_S = 0.001


class Killer:
    """Kills this process when it passes a point for the n-th time, and says so before."""

    def __init__(self, point: str | None, passes: int, report: int) -> None:
        self._point = point
        self._left = passes
        self._report = report

    def wants(self, point: str) -> bool:
        """Count a pass; true at the last one."""
        if point != self._point:
            return False
        self._left -= 1
        return self._left == 0

    def kill(self) -> None:
        """End as a power cut would."""
        os.write(self._report, b"x")
        os.kill(os.getpid(), signal.SIGKILL)

    def passes(self, point: str) -> None:
        """Die here, if it is time."""
        if self.wants(point):
            self.kill()


def shorten() -> None:
    """Make the times that nobody waits for in a test short; what they do is the same."""
    breaker.FIRST_OPEN, breaker.LONGEST_OPEN = 300, 1_000  # type: ignore[misc]
    claiming.NO_GATEWAY_AGAIN = 100


def install(killer: Killer) -> None:
    """Put the points where they belong."""
    _in_dispatcher(killer)
    _in_hearing(killer)
    _after(upkeep, "overdue", lambda _given, _got: killer.passes("upkeep: before its commit"))
    _after(driver, "save_progress", lambda _given, _got: killer.passes("engine: before its commit"))
    _after(contacts.Contacts, "heed", lambda _given, _got: killer.passes("event: before its commit"))

    async def heeded(self: Reception, arrivals: Any, before: Any = Reception.heeded) -> None:
        await before(self, arrivals)
        killer.passes("event: before it is answered")

    Reception.heeded = heeded  # type: ignore[method-assign]


def _in_dispatcher(killer: Killer) -> None:
    def claimed(_given: Any, got: dispatcher.Claimed) -> None:
        if got.claim.leaving:
            killer.passes("claim: before its commit")

    def told(given: Any, _got: None) -> None:
        if given[1].leaving:
            killer.passes("claim: after its commit")

    def moved(given: Any, _got: None) -> None:
        if given[1] == SENDING:
            killer.passes("settle: after its commit")

    def recovered(given: Any, _got: None) -> None:
        if given[1]:
            killer.passes("recovery: in the middle")

    _after(dispatcher.Dispatcher, "_claim", claimed)
    _after(dispatcher.Dispatcher, "_tell", told)
    _after(dispatcher.Dispatcher, "_outgoing", lambda _given, _got: killer.passes("send: before the first byte"))
    _after(settling, "settle", lambda _given, _got: killer.passes("settle: before its commit"))
    _after(Bulletin, "moved", moved)
    _after(dispatcher, "settle_all", recovered)
    _after(dispatcher, "counts", lambda _given, _got: killer.passes("recovery: before its commit"))
    _after(dispatcher.Dispatcher, "recover", lambda _given, _got: killer.passes("recovery: after its commit"))
    _in_client(killer)


def _in_client(killer: Killer) -> None:
    def traced(_given: Any, trace: Any) -> None:
        async def written(session: Any, _context: Any, _told: Any) -> None:
            if killer.wants("send: the request is written"):
                session._loop.call_later(AFTER_WRITE_S, killer.kill)  # noqa: SLF001

        trace.on_request_headers_sent.append(written)

    _after(http, "_trace", traced)

    async def request(self: Any, *given: Any, before: Any = http.HttpClient.request, **named: Any) -> Any:
        answer = await before(self, *given, **named)
        killer.passes("send: answered, not settled")
        return answer

    http.HttpClient.request = request  # type: ignore[method-assign]


def _in_hearing(killer: Killer) -> None:
    async def hear(self: Any, gateway: str, heard: Any, before: Any = hearing.Hearing.hear) -> None:
        await before(self, gateway, heard)
        killer.passes("callback: before it is answered")
        if heard.replies:
            killer.passes("opt-out: before it is answered")

    async def over(self: InFlight, keys: Any, before: Any = InFlight.over) -> None:
        if keys:
            killer.passes("opt-out: committed, not waited for")
        await before(self, keys)

    _after(Tidings, "take", lambda _given, _got: killer.passes("callback: before its commit"))
    _after(Tidings, "opt_out", lambda _given, _got: killer.passes("opt-out: before its commit"))
    hearing.Hearing.hear = hear  # type: ignore[method-assign]
    InFlight.over = over  # type: ignore[method-assign]


def _after(owner: Any, name: str, then: Callable[[Any, Any], None]) -> None:
    before = getattr(owner, name)

    def patched(*given: Any, **named: Any) -> Any:
        got = before(*given, **named)
        then(given, got)
        return got

    setattr(owner, name, patched)


# Three mistakes that are easy to make and cost customers a second message, and a check of the checks


def requeue_after_a_crash() -> None:
    """Take what was being sent for not sent."""
    before = dispatcher.settled

    def settled(leaving: Any, answer: Any, now: int, chance: float) -> Settled:
        if answer == Unknown("killed"):
            return Settled(QUEUED, "requeued", not_before=now)
        return before(leaving, answer, now, chance)

    dispatcher.settled = settled


def a_time_out_is_a_failure() -> None:
    """Take what was not answered in time for not sent."""
    before = http._judge_break  # noqa: SLF001

    def judged(attempt: Any, error: Exception) -> Any:
        return TryLater("timed out") if isinstance(error, TimeoutError) else before(attempt, error)

    http._judge_break = judged  # noqa: SLF001


def a_5xx_is_a_failure() -> None:
    """Take what the gateway failed over for not sent."""
    before = http.judge

    def judged(response: http.Response) -> Any:
        return TryLater("http 5xx") if response.status >= 500 else before(response)

    http.judge = http_answers.judge = judged


def no_last_look() -> None:
    """Let everything leave that is queued. The checks must see what the claim is there for."""
    for gate in ("_behind", "_unwanted", "_shut", "_capped"):
        setattr(claiming.Claiming, gate, lambda _self, _look: None)


MUTANTS = {
    "requeue after a crash": requeue_after_a_crash,
    "a time-out is a failure": a_time_out_is_a_failure,
    "a 5xx is a failure": a_5xx_is_a_failure,
    "no last look": no_last_look,
}
