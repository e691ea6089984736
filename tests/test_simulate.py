"""The made-up shop: believable, complete, and the same for the same seed."""

import gzip
import io
import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import phonenumbers
import pytest
from click.testing import CliRunner

from triggers.core.events import AnyEvent, CustomerUpdated, Event, OrderCreated, type_of
from triggers.errors import InputUnusable, OutputUnusable
from triggers.simulate import START, command, simulate, write
from triggers.simulate.people import MAX_CUSTOMERS, phone_of
from triggers.simulate.rhythm import DAY_MS, Rhythm, epoch_ms, text_of

HOUR_MS = 3_600_000


def ms(text: object) -> int:
    assert isinstance(text, str)
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def log_bytes(**arguments: int) -> bytes:
    out = io.BytesIO()
    write(out, **arguments)
    return out.getvalue()


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return log_bytes().splitlines()


@pytest.fixture(scope="module")
def events(lines: list[bytes]) -> list[Event]:
    decoder = msgspec.json.Decoder(AnyEvent)
    return [decoder.decode(line) for line in lines]


@pytest.fixture(scope="module")
def firsts(events: list[Event]) -> list[Event]:
    """Each event once, as it was first received."""
    return list({event.id: event for event in reversed(events)}.values())[::-1]


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(lines: list[bytes]) -> None:
    program = "import sys; from triggers.simulate import write; write(sys.stdout.buffer)"
    for hash_seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert run.stdout.splitlines() == lines


def test_another_seed_is_another_shop_with_other_event_ids() -> None:
    one, two = (log_bytes(days=5, customers=30, seed=seed) for seed in (1, 2))
    ids = [{msgspec.json.decode(line)["id"] for line in log.splitlines()} for log in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_every_kind_of_event_that_a_shop_itself_emits_occurs(events: list[Event]) -> None:
    assert {type_of(event) for event in events} == {
        "customer.registered",
        "customer.updated",
        "customer.unsubscribed",
        "customer.subscribed",
        "order.created",
        "order.paid",
        "order.cancelled",
        "order.refunded",
        "favorite.added",
        "favorite.removed",
        "store.visited",
        "message.clicked",
    }


def test_lines_are_in_the_order_in_which_they_were_received(events: list[Event]) -> None:
    received = [ms(event.received_at) for event in events]
    assert received == sorted(received)
    assert received[0] == START
    assert START + 89 * DAY_MS < received[-1] < START + 90 * DAY_MS


def test_nothing_is_received_before_it_happened(events: list[Event]) -> None:
    assert all(ms(event.at) <= ms(event.received_at) for event in events)


def test_some_events_arrive_late_and_so_out_of_order(firsts: list[Event]) -> None:
    live = [event for event in firsts if ms(event.at) >= START]
    late = sum(ms(event.received_at) - ms(event.at) >= 5 * 60_000 for event in live)
    assert 0.01 < late / len(live) < 0.03


def test_some_events_come_twice_with_the_same_body(lines: list[bytes]) -> None:
    bodies: dict[str, list[dict[str, object]]] = {}
    for line in lines:
        body = msgspec.json.decode(line)
        bodies.setdefault(body["id"], []).append(body)
    doubled = [both for both in bodies.values() if len(both) > 1]
    assert len(doubled) > 50
    for first, second in doubled:
        assert ms(first.pop("received_at")) < ms(second.pop("received_at"))
        assert first == second


def test_the_shop_opens_with_customers_whose_orders_go_back_more_than_a_year(firsts: list[Event]) -> None:
    before = [event for event in firsts if ms(event.at) < START]
    assert len({event.customer for event in before}) == 300
    ages = [START - ms(event.at) for event in before if type_of(event) == "order.paid"]
    assert max(ages) > 365 * DAY_MS
    assert min(ages) < 3 * DAY_MS


def test_visits_before_the_start_were_kept_for_a_month_only(firsts: list[Event]) -> None:
    visits = [ms(event.at) for event in firsts if type_of(event) == "store.visited"]
    assert START - 30 * DAY_MS <= min(visits) < START - 25 * DAY_MS


def test_nobody_follows_a_message_before_one_can_have_been_sent(firsts: list[Event]) -> None:
    clicks = [ms(event.at) for event in firsts if type_of(event) == "message.clicked"]
    assert START + 3 * DAY_MS <= min(clicks) < START + 6 * DAY_MS


def test_an_order_is_paid_cancelled_or_refunded_after_it_was_created(firsts: list[Event]) -> None:
    seen: dict[str, list[str]] = {}
    for event in sorted(firsts, key=lambda event: ms(event.at)):
        kind, _, what = type_of(event).partition(".")
        if kind == "order":
            seen.setdefault(event.order_id, []).append(what)  # type: ignore[attr-defined]
    lives = Counter(tuple(life) for life in seen.values())
    assert set(lives) == {("created",), ("created", "paid"), ("created", "cancelled"), ("created", "paid", "refunded")}
    unpaid = lives[("created",)] / lives.total()
    assert 0.10 < unpaid < 0.22


def test_an_order_costs_what_its_lines_cost(firsts: list[Event]) -> None:
    orders = [event for event in firsts if isinstance(event, OrderCreated)]
    assert len(orders) > 1000
    for order in orders:
        assert order.amount == sum(((item.price or 0) * (item.quantity or 0) for item in order.items), Decimal(0))
        assert order.category == order.items[0].category


def test_only_what_was_liked_is_removed_from_the_wish_list(firsts: list[Event]) -> None:
    liked: dict[str, set[tuple[str, str, Decimal]]] = {}
    for event in sorted(firsts, key=lambda event: ms(event.at)):
        mine = liked.setdefault(event.customer, set())
        if type_of(event) == "favorite.added":
            mine.add((event.product_id, event.category, event.price))  # type: ignore[attr-defined]
        elif type_of(event) == "favorite.removed":
            assert (event.product_id, event.category, event.price) in mine  # type: ignore[attr-defined]


def test_phones_are_mobile_numbers_and_nobody_shares_one(firsts: list[Event]) -> None:
    cards = [event for event in firsts if isinstance(event, CustomerUpdated) and event.phone is not None]
    phones = [card.phone or "" for card in cards]
    assert len({*phones}) == len(phones) == len({card.customer for card in cards})
    for phone in phones:
        number = phonenumbers.parse(phone)
        assert phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == phone


def test_the_block_of_phones_has_one_for_each_of_the_customers_allowed() -> None:
    assert len({phone_of(number) for number in range(1, MAX_CUSTOMERS + 1, 10)}) == MAX_CUSTOMERS // 10


def test_names_are_chinese_and_latin_and_some_are_unknown(firsts: list[Event]) -> None:
    names = [event.name for event in firsts if isinstance(event, CustomerUpdated) and event.phone is not None]
    known = [name for name in names if name]
    assert 10 < len(names) - len(known) < 100
    assert 100 < sum(name.isascii() for name in known) < len(known) - 100


def test_evenings_are_fuller_than_nights_and_weekends_than_weekdays() -> None:
    rhythm = Rhythm(START, START + 90 * DAY_MS)
    tuesday, saturday = epoch_ms(2026, 9, 1), epoch_ms(2026, 9, 5)
    assert rhythm.fullness(tuesday + 21 * HOUR_MS) > 3 * rhythm.fullness(tuesday + 6 * HOUR_MS)
    assert rhythm.fullness(saturday + 15 * HOUR_MS) > 1.2 * rhythm.fullness(tuesday + 15 * HOUR_MS)


def test_the_log_follows_the_rhythm_of_the_day_and_of_double_eleven(firsts: list[Event]) -> None:
    visits = [ms(event.at) for event in firsts if type_of(event) == "store.visited"]
    by_hour = Counter((at + 8 * HOUR_MS) // HOUR_MS % 24 for at in visits)
    assert sum(by_hour[hour] for hour in (19, 20, 21)) > 5 * sum(by_hour[hour] for hour in (2, 3, 4))
    festival = sum(epoch_ms(2026, 10, 31) <= at < epoch_ms(2026, 11, 12) for at in visits)
    fortnight_before = sum(epoch_ms(2026, 10, 17) <= at < epoch_ms(2026, 10, 29) for at in visits)
    assert festival > 1.5 * fortnight_before


def test_times_are_written_in_the_shops_zone() -> None:
    assert text_of(START) == "2026-09-01T00:00:00+08:00"
    assert text_of(START + 1) == "2026-09-01T00:00:00.001+08:00"


def test_the_start_moves_the_whole_log() -> None:
    start = epoch_ms(2027, 3, 1)
    moved = list(simulate(3, 20, 7, start))
    assert moved[0]["received_at"] == "2027-03-01T00:00:00+08:00"
    assert all(start <= ms(event["received_at"]) < start + 3 * DAY_MS for event in moved)


@pytest.mark.parametrize(
    ("days", "customers", "start"),
    [(0, 5, None), (4000, 5, None), (5, 0, None), (5, 1_000_001, None), (5, 5, epoch_ms(1970, 1, 1)), (5, 5, 10**15)],
)
def test_arguments_have_limits(days: int, customers: int, start: int | None) -> None:
    with pytest.raises(InputUnusable, match="must"):
        simulate(days, customers, 7, start)


def test_the_command_writes_the_same_log_to_a_file_packed_or_to_standard_output(tmp_path: Path) -> None:
    arguments = ["--days", "4", "--customers", "20", "--seed", "3", "--start", "2026-10-01"]
    plain, packed, again = (tmp_path / name for name in ("log.jsonl", "log.jsonl.gz", "again.jsonl.gz"))
    for path in (plain, packed, again):
        result = CliRunner().invoke(command, [*arguments, "--out", str(path)], catch_exceptions=False)
        assert result.exit_code == 0
        assert str(path) in result.stderr
    written = CliRunner().invoke(command, arguments, catch_exceptions=False)
    expected = log_bytes(days=4, customers=20, seed=3, start=epoch_ms(2026, 10, 1))
    assert plain.read_bytes() == gzip.decompress(packed.read_bytes()) == written.stdout_bytes == expected
    assert packed.read_bytes() == again.read_bytes()


def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    with pytest.raises(OutputUnusable, match="cannot write /dev/full: No space left"):
        CliRunner().invoke(command, ["--days", "2", "--out", "/dev/full"], catch_exceptions=False)


def test_a_folder_that_does_not_exist_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputUnusable, match=r"log\.jsonl: No such file"):
        CliRunner().invoke(command, ["--out", str(tmp_path / "none" / "log.jsonl")], catch_exceptions=False)
