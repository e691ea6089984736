"""Long calls of gateways, and ids of replies that come again."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from offices import PHONE, Scripted

from triggers.dispatch.gateway import Fate, Heard, Receipt, Reply
from triggers.dispatch.hearing import TAKEN_AT_ONCE
from triggers.store.database import connect_reader
from triggers.store.receipts import unmatched
from triggers.store.suppressions import suppression_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    from triggers.store.database import Connection

    Opening = Callable[..., Office]

OTHER = "+8613800005678"


async def test_a_code_does_not_wait_for_all_of_a_long_call(office: Opening) -> None:
    shop = office(Scripted("main"))
    receipts = tuple(Receipt(Fate.DELIVERED, f"p{number}") for number in range(3 * TAKEN_AT_ONCE + 1))
    call = asyncio.create_task(shop.dispatch.hearing.hear("main", Heard(receipts)))
    await asyncio.sleep(0)  # the call has begun: its first part is given to the writer
    between: int = await asyncio.wrap_future(shop.writer.submit(unmatched))
    await call
    assert between <= TAKEN_AT_ONCE
    with closing(connect_reader(shop.path)) as reader:
        assert unmatched(reader) == len(receipts)


async def test_an_opt_out_in_any_part_of_a_long_call_is_waited_for(office: Opening) -> None:
    shop = office(Scripted("main"))
    shop.dispatch.inflight.begin(1, (PHONE,))
    replies = (Reply(PHONE, "TD", "0"), *(Reply(OTHER, "hello", f"{number}") for number in range(1, TAKEN_AT_ONCE + 9)))
    call = asyncio.create_task(shop.dispatch.hearing.hear("main", Heard(replies=replies)))
    done, _ = await asyncio.wait([call], timeout=0.3)
    assert not done
    shop.dispatch.inflight.finish(1, (PHONE,))
    await call


async def test_an_opt_out_counts_whose_id_was_another_replys(office: Opening) -> None:
    shop = office(Scripted("main"))
    hear = shop.dispatch.hearing.hear
    await hear("main", Heard(replies=(Reply(OTHER, "thanks", "7"),)))
    await hear("main", Heard(replies=(Reply(PHONE, "TD", "7"),)))
    await hear("main", Heard(replies=(Reply(OTHER, "thanks", "7"),)))

    def kept(connection: Connection) -> tuple[str | None, int]:
        (count,) = connection.execute("SELECT count(*) FROM replies").fetchone()
        return suppression_of(connection, PHONE), count

    assert shop.writer.submit(kept).result(10) == ("reply", 2)
