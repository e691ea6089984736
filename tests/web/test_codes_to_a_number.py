from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from engines import NOW, PHONE, Mouth

from triggers.core.times import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client
    from engines import Engine


class Office:
    def __init__(self, engine: Engine, client: Client) -> None:
        self.engine, self.client, self.count = engine, client, 0

    async def post(self, klass: str = "verification", to: str = PHONE, key: str = "") -> tuple[int, str | None]:
        self.count += 1
        content = {"class": klass, "to": to, "text": "Your code is 1234"}
        headers = {"Idempotency-Key": key or f"k{self.count}"}
        answer: Any = await self.client.post(
            "/v1/messages", data=io.BytesIO(json.dumps(content).encode()), headers=headers
        )
        return answer.status, answer.headers.get("Retry-After")


@pytest.fixture
async def office(serve: Callable[..., Any]) -> Office:
    return Office(*await serve(gateways={"main": Mouth()}))


async def test_a_number_gets_five_codes_an_hour_however_it_is_written(office: Office) -> None:
    assert [await office.post(to=to) for to in (PHONE, "13800001234", PHONE, PHONE, PHONE)] == [(202, None)] * 5
    office.engine.at = NOW + 10 * MINUTE
    assert await office.post(to="138 0000 1234") == (429, str(50 * MINUTE // SECOND))
    assert await office.post(to="13800009999") == (202, None), "another number's codes are its own"
    assert await office.post("notice") == (202, None), "notices are not counted"
    assert await office.post(key="k1") == (200, None), "the same again is no other code"
    office.engine.at = NOW + HOUR
    assert await office.post() == (202, None)


async def test_a_number_gets_ten_codes_a_day(office: Office) -> None:
    for hour in range(2):
        office.engine.at = NOW + hour * HOUR
        assert [await office.post() for _ in range(5)] == [(202, None)] * 5
    office.engine.at = NOW + 3 * HOUR
    assert await office.post() == (429, str(21 * HOUR // SECOND))
