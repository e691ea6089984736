"""The addresses that gateways call with receipts and replies: each call is answered once what it says is on the disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from triggers.dispatch.callbacks import PATH
from triggers.dispatch.gateway import Call, Refused, Screens
from triggers.web.answers import refusal
from triggers.web.entrance import too_busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.gateway import Hears
    from triggers.web.engine import Called
    from triggers.web.entrance import Entrance

MOST_BODY: Final = 1_000_000
MOST_AT_ONCE: Final = 500
"""Calls under way. They are taken while events are turned away: many a gateway calls once, and an opt-out may be in it."""
TELL_EVERY_S: Final = 60.0
"""Of the calls that are refused, one in such a time is told for each gateway: anybody can call."""

_log = structlog.get_logger("web")


class Callbacks:
    """The routes for calls. ``clock`` tells seconds that only go forward."""

    def __init__(self, engine: Called, entrance: Entrance, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._entrance = entrance
        self._clock = clock
        self._under_way = 0
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes, for all methods: gateways have their own minds about these."""
        router.add_route("*", f"{PATH}/{{gateway}}/{{kind}}", self.take)

    async def take(self, request: web.Request) -> web.Response:
        """Have a gateway read a call that claims to be its own, and store what it says before it is answered.

        200 with what the gateway wants to be answered. 403: not authentic. 400: not understood. 404: no gateway of this
        name calls back. 408: too slow. 413: too large. 503: too many at once.
        """
        name = request.match_info["gateway"]
        gateway = self._engine.caller(name)
        if gateway is None:
            return refusal(404, "no gateway is called back here")
        call = self._call(request)
        refused = gateway.screen(call) if isinstance(gateway, Screens) else None
        if refused is not None:  # before the body: strangers who are slow must not take the room of gateways
            return self._refuse(name, refused)
        if self._under_way >= MOST_AT_ONCE:
            raise too_busy()
        self._under_way += 1
        try:
            return await self._take(name, gateway, request, call)
        finally:
            self._under_way -= 1

    async def _take(self, name: str, gateway: Hears, request: web.Request, call: Call) -> web.Response:
        body = await self._entrance.read_always(request, MOST_BODY)
        heard = gateway.hear(call._replace(body=body))
        if isinstance(heard, Refused):
            return self._refuse(name, heard)
        await self._engine.heard(name, heard)
        return web.Response(body=heard.answer, headers={"Content-Type": heard.content_type})

    def _refuse(self, name: str, refused: Refused) -> web.Response:
        self._tell(name, refused)
        return refusal(refused.status, "this call is not taken; the log of the service says why")

    def _call(self, request: web.Request) -> Call:
        """Make a call of a request, without its body."""
        origin = self._engine.public_url or f"{request.scheme}://{request.host}"
        query: dict[str, str] = {}
        for key, value in request.query.items():
            query.setdefault(key, value)
        headers: dict[str, str] = {}
        for key, value in request.headers.items():
            headers.setdefault(key.lower(), value)
        url = f"{origin}{request.rel_url.raw_path_qs}"  # as it came: a signature covers it to the letter
        return Call(request.match_info["kind"], request.method, url, query, headers, b"")

    def _tell(self, gateway: str, refused: Refused) -> None:
        """Log a refused call, without its content, and now and then only."""
        now = self._clock()
        if now - self._told_at.get(gateway, -TELL_EVERY_S) < TELL_EVERY_S:
            self._untold[gateway] = self._untold.get(gateway, 0) + 1
            return
        self._told_at[gateway] = now
        untold = self._untold.pop(gateway, 0)
        _log.warning(
            "a call was refused", gateway=gateway, status=refused.status, why=refused.why, untold_before=untold
        )
