from __future__ import annotations

from typing import TYPE_CHECKING

from offices import Office, Scripted, send

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from triggers.store.database import Connection
    from triggers.store.states import Queued, Ruling


async def test_a_message_that_cannot_be_looked_at_stops_only_itself(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted())
    claiming = here.dispatch.dispatcher._claiming  # noqa: SLF001  where the fault is put
    look = claiming.rule

    def rule(connection: Connection, queued: Queued, *rest: object) -> Ruling:
        if queued.send.id == "poison":
            raise ValueError(queued.phone)
        return look(connection, queued, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(claiming, "rule", rule)
    here.put(send("before"), send("poison", customer="c2"), send("after", customer="c3"))
    await here.dispatch.dispatcher.drain()
    rows = here.rows("SELECT command, state, reason FROM outbox ORDER BY seq")
    assert rows == [("before", "accepted", ""), ("poison", "queued", "fault"), ("after", "accepted", "")]
    assert "could not be looked at" in capsys.readouterr().out
