"""The same message posted again is known, however whoever posts it writes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offices import PHONE, Scripted

from triggers.dispatch.postbox import Posted, PostedOtherwise, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    Opening = Callable[..., Office]


async def test_the_order_of_the_gaps_in_a_template_says_nothing(office: Opening) -> None:
    postbox = office(Scripted("main")).dispatch.postbox
    wanted = Wanted("verification", PHONE, "your code", params={"code": "1", "minutes": "5"})
    first = await postbox.post("key", wanted)
    again = await postbox.post("key", wanted._replace(params={"minutes": "5", "code": "1"}))
    other = await postbox.post("key", wanted._replace(params={"code": "5", "minutes": "1"}))
    assert isinstance(first, Posted)
    assert first.new
    assert again == first._replace(new=False)
    assert other == PostedOtherwise(first.id)
