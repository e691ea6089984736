"""What requests pass on their way in: who may come, and how much of a body is read, in which time."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.web.engine import Busy

RETRY_AFTER_S: Final = 1
READ_TIMEOUT_S: Final = 30.0
"""How long a sender may take for a body."""
BEARER: Final = "Bearer "


class Entrance:
    """Guards the routes of a service. ``token`` None: nobody is asked for one."""

    def __init__(self, engine: Busy, token: str | None, read_timeout_s: float) -> None:
        self._engine = engine
        self._token = token
        self._read_timeout_s = read_timeout_s

    def admit(self, request: web.Request) -> None:
        """Let a request in that has the token. Raises HTTPUnauthorized."""
        if self._token is None:
            return
        given = request.headers.get("Authorization", "")
        begins = given[: len(BEARER)].lower() == BEARER.lower()
        if not begins or not _same(given[len(BEARER) :].strip(), self._token):
            reason = "this needs the header 'Authorization: Bearer TOKEN', with the token of this service"
            raise web.HTTPUnauthorized(reason=reason, headers={"WWW-Authenticate": "Bearer"})

    async def read(self, request: web.Request, most: int) -> bytes:
        """Read a body of at most ``most`` bytes, unpacked, where there is room for more work. Raises what is answered."""
        if self._engine.busy:
            raise too_busy()
        body = await self.read_always(request, most)
        if self._engine.busy:  # others were read meanwhile
            raise too_busy()
        return body

    async def read_always(self, request: web.Request, most: int) -> bytes:
        """Read a body of at most ``most`` bytes, unpacked. Raises what is answered."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await request.clone(client_max_size=most).read()
        except TimeoutError:
            reason = f"the body did not come within {self._read_timeout_s:g} s"
            raise web.HTTPRequestTimeout(reason=reason, headers={"Connection": "close"}) from None
        except web.RequestPayloadError as error:
            reason = "the body is not what its Content-Encoding or Transfer-Encoding says"
            raise web.HTTPBadRequest(reason=reason) from error


def reached_from_elsewhere(hosts: Iterable[str]) -> bool:
    """Tell whether one of the addresses that are listened on is reached from other machines."""
    return not all(ipaddress.ip_address(host.partition("%")[0]).is_loopback for host in hosts)


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())


def too_busy() -> web.HTTPServiceUnavailable:
    """Make the answer that asks a sender to come back."""
    return web.HTTPServiceUnavailable(
        reason="too much is waiting to be written; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
    )
