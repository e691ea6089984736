"""The address that takes events: one, an array of them, or one a line; answered once they are in the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from triggers.core.intake import decode_many
from triggers.store.event_log import Arrival, Entry
from triggers.web.answers import in_json, refusal
from triggers.web.bodies import TooMany, split

if TYPE_CHECKING:
    from aiohttp import web

    from triggers.web.engine import Intake
    from triggers.web.entrance import Entrance

RESULTS = ("accepted", "duplicate", "conflict", "rejected")


class Events:
    """The route for events. Bodies are at most ``max_body`` bytes and hold at most ``max_events`` events."""

    def __init__(self, intake: Intake, entrance: Entrance, *, max_body: int, max_events: int) -> None:
        self._intake = intake
        self._entrance = entrance
        self._max_body = max_body
        self._max_events = max_events

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_post("/v1/events", self.take)

    async def take(self, request: web.Request) -> web.Response:
        """Log the events of a body and answer when they are on the disk, one result an event.

        Of an opt-out the answer also says that nothing commercial leaves to that customer any more.

        200: at least one was taken, or had been before. 422: none was. 400: empty, or not what its encoding says.
        401: no token. 408: too slow. 413: too large or too many. 503: too busy.
        """
        self._entrance.admit(request)
        if "ce-specversion" in request.headers:
            return refusal(415, "binary CloudEvents are not understood; send the envelope as JSON (structured mode)")
        body = await self._entrance.read(request, self._max_body)
        bodies = split(body, request.content_type, self._max_events)
        if isinstance(bodies, TooMany):
            return refusal(413, f"a body holds at most {bodies.limit} events; send several")
        if not bodies:
            return refusal(400, "the body is empty; send an event, an array of events, or one a line")
        origin = f"http {request.remote or 'unknown'}"
        meanings = decode_many(bodies, far_future_ok=True)
        arrivals = [Arrival(body, meaning, origin) for body, meaning in zip(bodies, meanings, strict=True)]
        entries = await asyncio.wrap_future(self._intake.ingest(arrivals))
        await self._intake.heeded(arrivals)
        return _answer(entries)


def _answer(entries: list[Entry]) -> web.Response:
    counts = dict.fromkeys(RESULTS, 0)
    results = []
    for entry in entries:
        counts[entry.result] += 1
        results.append({key: value for key, value in entry._asdict().items() if value})
    status = 200 if counts["accepted"] or counts["duplicate"] else 422
    return in_json({**counts, "results": results}, status)
