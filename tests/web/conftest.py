"""Faces for the tests, each with an engine on a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from engines import Engine
from prometheus_client import CollectorRegistry

from triggers.web.service import Face

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web

    Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Serve faces: give gateways by name, and what else a face or its engine takes; get an engine and a client."""
    opened: list[tuple[Engine, Client]] = []

    async def begin(token: str | None = None, **more: Any) -> tuple[Engine, Client]:
        engine = Engine(tmp_path / f"{len(opened)}.db", **more)
        face = Face(engine, CollectorRegistry(), max_body=5_000_000, max_events=100, token=token, read_timeout_s=0.2)
        client = TestClient(TestServer(face.application()))
        await client.start_server()
        opened.append((engine, client))
        return engine, client

    yield begin
    for engine, client in opened:
        await client.close()
        engine.close()
