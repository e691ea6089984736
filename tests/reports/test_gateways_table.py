from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from triggers import cli
from triggers.clock import wall_ms
from triggers.core.decisions import Send
from triggers.core.times import HOUR, MINUTE, iso
from triggers.reports.gateways import HEADINGS, Known, cells, gateways, plain
from triggers.store.beside import beside, looking, transaction
from triggers.store.database import open_database
from triggers.store.gateway_log import Change, last_changes, note_change
from triggers.store.outbox import claim, queue, settle
from triggers.store.receipts import Report, report
from triggers.store.states import Command, Go, Settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triggers.reports.gateways import Gateway

    Triggers = Callable[..., tuple[int, str, str]]

NOW = 1_788_321_600_000
PHONE = "+8613800001234"
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=5_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip


class Shop:
    """A database with messages that left and what became of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def left(
        self, gateway: str, ago: int, fate: str = "", *, after: int = 0, klass: str = "marketing", now: int = NOW,
        parts: int = 1, cost: int = 5_000, invalid: bool = False,
    ) -> None:  # fmt: skip
        """Let a message leave; ``fate`` is what its receipt says, ``after`` how long it took."""
        self.count += 1
        name, at = str(self.count), now - ago
        send = msgspec.structs.replace(SEND, id=name, klass=klass, segments=parts)
        with beside(self.path) as connection, transaction(connection):
            queue(connection, [Command(send, PHONE)], at)
            (leaving,) = claim(connection, klass, 1, at, lambda _: Go(gateway, PHONE, cost, at + HOUR)).leaving
            settle(connection, leaving, Settled("accepted", provider_id=name), at)
            if fate:
                told = Report(gateway, name, None, None, fate, "", at + after, invalid, blacklisted=False)
                assert report(connection, told, at + after) is not None

    def changed(self, gateway: str, klass: str, new: str, ago: int, now: int = NOW) -> None:
        with beside(self.path) as connection, transaction(connection):
            note_change(connection, Change(now - ago, gateway, klass, "x", new, "for the test"))

    def table(self, known: dict[str, Known] | None = None, hours: int = 24) -> list[Gateway]:
        with looking(self.path) as connection:
            since = NOW - hours * HOUR
            return gateways(connection, since=since, old_enough=NOW - 30 * MINUTE, known=known)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    open_database(tmp_path / "t.db")
    return Shop(tmp_path / "t.db")


def test_a_gateway_is_told_of_by_class_with_what_arrived_of_what_can_be_judged(shop: Shop) -> None:
    for seconds in range(1, 9):
        shop.left("acme", HOUR, "delivered", after=seconds * 1_000, parts=2, cost=11_000)
    shop.left("acme", HOUR, "undelivered", invalid=True, parts=2, cost=11_000)
    shop.left("acme", HOUR, "undelivered", parts=2, cost=11_000)
    shop.left("acme", 31 * MINUTE, parts=2, cost=11_000)  # silent for long enough
    shop.left("acme", 29 * MINUTE, parts=2, cost=11_000)  # too young to say anything
    shop.left("acme", 25 * HOUR, "undelivered")  # too long ago
    shop.left("acme", HOUR, "delivered", klass="notice", after=100)
    marketing, notice = shop.table()
    assert (marketing.name, marketing.klass, marketing.state, marketing.since) == ("acme", "marketing", "good", None)
    assert (marketing.sent, marketing.judged, marketing.delivered, marketing.invalid) == (12, 11, 8, 1)
    assert (marketing.arrival, marketing.of_valid) == (8 / 11, 8 / 10)
    assert (marketing.p50, marketing.p95) == (4_000, 8_000)
    assert (marketing.price, marketing.cost) == (5_500, 12 * 11_000)
    assert (notice.klass, notice.sent, notice.arrival, notice.p50, notice.p95) == ("notice", 1, 1.0, 100, 100)
    assert [row.sent for row in shop.table(hours=26)] == [13, 1]


def test_of_a_gateway_that_never_tells_no_arrival_is_made_up(shop: Shop) -> None:
    shop.left("mute", 2 * HOUR)
    shop.left("silent", 2 * HOUR)
    shop.left("silent", 30 * HOUR, "delivered")
    mute, silent = shop.table()
    assert (mute.sent, mute.arrival, mute.of_valid, mute.p50) == (1, None, None, None)
    assert (silent.arrival, silent.of_valid) == (0.0, 0.0)
    known = {"mute": Known(frozenset({"marketing"}), receipts=True, price=None)}
    assert shop.table(known)[0].arrival == 0.0
    known = {"silent": Known(frozenset({"marketing"}), receipts=False, price=None)}
    assert shop.table(known)[1].arrival is None


def test_only_invalid_numbers_say_nothing_of_the_others(shop: Shop) -> None:
    shop.left("acme", HOUR, "undelivered", invalid=True)
    (row,) = shop.table()
    assert (row.arrival, row.of_valid) == (0.0, None)


def test_the_state_is_what_is_held_against_a_gateway_and_since_when(shop: Shop) -> None:
    for klass in ("marketing", "notice"):
        shop.left("acme", HOUR, klass=klass)
    shop.changed("acme", "marketing", "demoted", 5 * HOUR)
    shop.changed("acme", "", "barred", 2 * HOUR)
    states = {row.klass: (row.state, row.since) for row in shop.table()}
    assert states == {"marketing": ("barred, demoted", NOW - 2 * HOUR), "notice": ("barred", NOW - 2 * HOUR)}
    shop.changed("acme", "", "closed", HOUR)
    states = {row.klass: (row.state, row.since) for row in shop.table()}
    assert states == {"marketing": ("demoted", NOW - 5 * HOUR), "notice": ("good", NOW - HOUR)}


def test_what_something_is_held_against_is_told_of_though_nothing_left(shop: Shop) -> None:
    shop.changed("acme", "", "open", 30 * HOUR)
    shop.changed("other", "marketing", "warned", 30 * HOUR)
    shop.changed("fine", "", "closed", 30 * HOUR)
    shop.changed("fine", "notice", "good", 30 * HOUR)
    assert [(row.name, row.klass, row.state) for row in shop.table()] == [
        ("acme", "", "open"), ("other", "marketing", "warned"),
    ]  # fmt: skip


def test_the_settings_bring_in_what_is_idle_and_the_price_that_was_agreed(shop: Shop) -> None:
    shop.left("acme", HOUR, cost=4_000)
    known = {
        "acme": Known(frozenset({"marketing", "notice"}), receipts=True, price=4_500),
        "idle": Known(frozenset(), receipts=True, price=None),
    }
    rows = [(row.name, row.klass, row.sent, row.price, row.cost) for row in shop.table(known)]
    assert rows == [("acme", "marketing", 1, 4_500, 4_000), ("acme", "notice", 0, 4_500, 0), ("idle", "", 0, None, 0)]


def test_people_read_shares_seconds_and_yuan(shop: Shop) -> None:
    for _ in range(2):
        shop.left("acme", HOUR, "delivered", after=1_250)
    shop.left("acme", HOUR, "undelivered")
    shop.changed("acme", "marketing", "warned", HOUR)
    (row,) = shop.table()
    assert cells(row) == [
        "acme", "marketing", "warned", "3", "66.7%", "66.7%", "1.2 s", "1.2 s", "0.05", "0.15", "2026-09-02 03:00 UTC",
    ]  # fmt: skip
    first, second = plain([row])
    assert first.split("  ")[0] == "gateway"
    assert [second.index(cell) for cell in ("marketing", "66.7%", "0.15")] == [
        first.index(heading) for heading in ("class", "arrival", "cost")
    ]  # fmt: skip
    assert set(HEADINGS) <= {cell.strip() for cell in first.split("  ")}


# The command


@pytest.fixture
def triggers(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Triggers:
    def run(*arguments: str, db: bool = True) -> tuple[int, str, str]:
        status = cli.main(["gateways", *(["--db", str(shop.path)] if db else []), *arguments])
        written = capsys.readouterr()
        return status, written.out, written.err

    return run


def delivery(folder: Path) -> str:
    path = folder / "delivery.yaml"
    path.write_text(
        "delivery: v1\n"
        "gateways:\n"
        "  main: {type: console, price: 0.04}\n"
        "  spare: {type: console}\n"
        "routes: {default: [main], notice: [main, spare]}\n"
    )
    return str(path)


def test_the_command_prints_plain_lines_where_there_is_no_terminal(shop: Shop, triggers: Triggers) -> None:
    assert triggers() == (0, "nothing left in the last 24 h, and nothing is held against a gateway\n", "")
    shop.left("acme", 2 * HOUR, "delivered", after=1_000, now=wall_ms())
    status, out, _ = triggers()
    assert (status, len(out.splitlines())) == (0, 2)
    assert out.splitlines()[1].split() == ["acme", "marketing", "good", "1", "100.0%", "100.0%", "1.0", "s", "1.0",
                                           "s", "0.05", "0.05", "-"]  # fmt: skip
    assert triggers("--hours", "1")[1].startswith("nothing left in the last 1 h")


def test_machines_are_given_json(shop: Shop, triggers: Triggers) -> None:
    now = wall_ms()
    shop.left("acme", 2 * HOUR, "delivered", after=1_500, now=now)
    shop.changed("acme", "", "barred", HOUR, now=now)
    status, out, _ = triggers("--json")
    (row,) = json.loads(out)
    assert status == 0
    assert row == {
        "gateway": "acme", "class": "marketing", "state": "barred", "sent": 1, "judged": 1, "delivered": 1,
        "invalid": 0, "arrival": 1.0, "arrival_of_valid": 1.0, "p50_s": 1.5, "p95_s": 1.5, "price": "0.05",
        "cost": "0.05", "since": iso(now - HOUR),
    }  # fmt: skip


def test_with_the_settings_every_gateway_is_shown_with_its_classes(triggers: Triggers, tmp_path: Path) -> None:
    status, out, _ = triggers("--delivery", delivery(tmp_path), "--json")
    assert status == 0
    assert [(row["gateway"], row["class"], row["price"], row["arrival"]) for row in json.loads(out)] == [
        *(("main", klass, "0.04", None) for klass in ("greeting", "marketing", "member", "notice", "verification")),
        ("spare", "notice", None, None),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hours", "0"], "--hours"), (["--hours", "9601"], "--hours"), (["--delivery", "nowhere.yaml"], "nowhere"),
        (["--db", "nowhere.db"], "there is no database nowhere.db"), (["mend"], "mend"),
    ],
)  # fmt: skip
def test_what_the_command_cannot_use_is_said(triggers: Triggers, arguments: list[str], words: str) -> None:
    status, _, err = triggers(*arguments)
    assert (status, words in err) == (2, True)


def last(shop: Shop) -> dict[tuple[str, str], Change]:
    with looking(shop.path) as connection:
        return last_changes(connection)


@pytest.mark.parametrize("before", [True, False])
def test_a_reset_is_written_once_for_the_service_to_find(shop: Shop, triggers: Triggers, before: bool) -> None:  # noqa: FBT001
    shop.changed("acme", "", "barred", HOUR)
    arguments: list[Any] = ["reset", "acme"] if before else ["reset", "acme", "--db", str(shop.path)]
    assert triggers(*arguments, db=before)[0] == 0
    change = last(shop)["acme", ""]
    assert (change.old, change.new, change.klass, change.why[:3]) == ("barred", "reset", "", "by ")
    triggers(*arguments, db=before)
    assert last(shop)["acme", ""] == change
    assert "reset" in triggers()[1]


def test_what_needs_no_reset_or_is_not_known_is_left_alone(shop: Shop, triggers: Triggers, tmp_path: Path) -> None:
    shop.left("acme", HOUR)
    shop.changed("other", "", "closed", HOUR)
    for name in ("acme", "other"):
        assert triggers("reset", name)[:2] == (0, f"{name} is given messages already; there is nothing to reset\n")
    status, _, err = triggers("reset", "acne")
    assert (status, err) == (1, "nothing is known of a gateway 'acne'; did you mean 'acme'?\n")
    assert triggers("--delivery", delivery(tmp_path), "reset", "spare")[0] == 0
    assert set(last(shop)) == {("other", "")}


def test_a_terminal_is_given_a_table(shop: Shop, triggers: Triggers, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.left("acme", HOUR, now=wall_ms())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    status, out, _ = triggers()
    assert status == 0
    assert "gateways, last 24 h" in out
    (line,) = (line for line in out.splitlines() if "acme" in line)
    assert [cell.strip() for cell in line.replace("┃", "│").split("│")[1:4]] == ["acme", "marketing", "good"]
