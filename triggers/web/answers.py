"""Answers in JSON, also to what cannot be answered: each refusal has a message that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web

from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TOLD_HEADERS = ("Allow", "Connection", "Retry-After", "WWW-Authenticate")

_log = structlog.get_logger("web")
_encoder = msgspec.json.Encoder()


def in_json(content: object, status: int) -> web.Response:
    """Answer with a value."""
    return web.Response(body=_encoder.encode(content), status=status, content_type="application/json")


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Say no, in JSON, with a message that helps."""
    response = in_json({"error": message}, status)
    response.headers.update(headers or {})
    return response


@web.middleware
async def faults_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer. The log has the path without the query, which may hold secrets."""
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge as error:
        return refusal(413, f"the body is too large: {error.text}")
    except web.HTTPException as error:
        return refusal(error.status, error.reason, {k: v for k, v in error.headers.items() if k in _TOLD_HEADERS})
    except ServiceUnusable as error:
        return refusal(503, str(error))
    except ConnectionResetError:
        return refusal(400, "the connection was lost")  # nobody reads it
    except Exception:  # noqa: BLE001  one bad request stops nothing else
        _log.exception("a request failed", path=request.path)
        return refusal(500, "this failed inside; the log says why")
