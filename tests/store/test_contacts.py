from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.core.times import DAY, HOUR
from triggers.store.contacts import NOBODY, NOT_VALID, Contact, Contacts, contact_of, customers_with
from triggers.store.database import connect, open_database
from triggers.store.event_log import Arrival, EventLog
from triggers.store.outbox import claim, queue
from triggers.store.states import Command, Go
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

NOW = 1_788_000_000_000
PHONE = "+8613800001234"
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass="marketing", expires=NOW * 2,
)  # fmt: skip


def normal(text: str) -> str | None:
    """Read a number of eleven digits, and nothing else."""
    digits = "".join(filter(str.isdigit, text))
    return f"+86{digits[-11:]}" if len(digits) >= 11 else None


class Book:
    """Contacts on a database, told by events in the order in which a test tells them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.contacts = Contacts(normal)
        self.number = 0

    def tell(self, kind: str, at: int = NOW, customer: str = "c1", **fields: Any) -> None:
        self.number += 1
        event = decode(
            msgspec.json.encode({"id": f"e{self.number}", "type": kind, "customer": customer, "at": at, **fields})
        )
        self.contacts.heed(self.connection, event)  # type: ignore[arg-type]

    def know(self, customer: str = "c1") -> Contact:
        return contact_of(self.connection, customer)

    def left(self, name: str, at: int, **changes: Any) -> None:
        """Let a message have begun to leave."""
        send = msgspec.structs.replace(SEND, id=name, **changes)
        queue(self.connection, [Command(send, PHONE)], at)
        assert claim(self.connection, send.klass, 1, at, lambda _: Go("main", PHONE, 1, at)).leaving

    def opt_outs(self) -> list[tuple[Any, ...]]:
        return self.connection.execute("SELECT customer, rule, at FROM opt_outs ORDER BY seq").fetchall()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield Book(connection)


def test_nothing_is_known_of_somebody_who_never_came(book: Book) -> None:
    assert book.know() is NOBODY
    assert book.know() == Contact(None, None, registered=False, unsubscribed=False)
    book.tell("order.paid", order_id="o1", amount=9)
    assert book.know() is NOBODY  # only what concerns a contact is kept


def test_a_number_is_kept_as_it_is_dialled_and_one_that_is_none_is_known_as_such(book: Book) -> None:
    book.tell("customer.updated", phone="138-0000-1234")
    assert book.know().phone == PHONE
    book.tell("customer.updated", phone="call me", at=NOW + 1)
    assert book.know().phone == NOT_VALID
    book.tell("customer.updated", name="Mei", at=NOW + 2)  # says nothing of a number
    assert book.know().phone == NOT_VALID


def test_the_number_that_was_told_last_counts_whenever_it_arrives(book: Book) -> None:
    book.tell("customer.updated", phone="13800001234", at=NOW)
    book.tell("customer.updated", phone="13800009999", at=NOW - 1)
    assert book.know().phone == PHONE
    book.tell("customer.updated", phone="13800005555", at=NOW)  # at the same instant the later arrival
    assert book.know().phone == "+8613800005555"


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_consent_is_what_was_said_last_with_its_source_and_time(book: Book, order: list[int]) -> None:
    said = [(NOW - 2, True), (NOW - 1, False), (NOW, True)]
    for number in order:
        at, consent = said[number]
        book.tell("customer.updated", at=at, consent=consent, source=f"till {number}")
    assert book.know().consent is True
    (row,) = book.connection.execute("SELECT consent_at, consent_by FROM contacts").fetchall()
    assert row == (NOW, f"till 2/e{order.index(2) + 1}")


@pytest.mark.parametrize("said", [[True, False], [False, True]])
def test_of_yes_and_no_at_one_instant_no_counts(book: Book, said: list[bool]) -> None:
    for consent in said:
        book.tell("customer.updated", consent=consent)
    assert book.know().consent is False


def test_consent_and_number_are_kept_apart(book: Book) -> None:
    book.tell("customer.updated", consent=False, at=NOW)
    book.tell("customer.updated", phone=PHONE, at=NOW - DAY)
    assert book.know() == Contact(PHONE, consent=False)


def test_who_signed_up_is_known_for_ever(book: Book) -> None:
    book.tell("customer.registered")
    book.tell("customer.unsubscribed", at=NOW + 1)
    assert book.know() == Contact(registered=True, unsubscribed=True)
    assert book.know("c2") is NOBODY


@pytest.mark.parametrize(
    ("told", "unsubscribed"),
    [
        ([("customer.unsubscribed", 0)], True),
        ([("customer.unsubscribed", 0), ("customer.subscribed", 1)], False),
        ([("customer.subscribed", 1), ("customer.unsubscribed", 0)], False),
        ([("customer.subscribed", 0), ("customer.unsubscribed", 1)], True),
        ([("customer.unsubscribed", 0), ("customer.subscribed", 0)], True),
        ([("customer.subscribed", 0), ("customer.unsubscribed", 0)], True),
    ],
)
def test_the_last_word_counts_and_of_two_at_once_the_opt_out(
    book: Book, told: list[tuple[str, int]], *, unsubscribed: bool
) -> None:
    for kind, later in told:
        book.tell(kind, at=NOW + later)
    assert book.know().unsubscribed is unsubscribed


def test_all_customers_of_a_number_are_found(book: Book) -> None:
    book.tell("customer.updated", phone=PHONE, customer="c2")
    book.tell("customer.updated", phone="138 0000 1234", customer="c1")
    book.tell("customer.updated", phone="13800009999", customer="c3")
    book.tell("customer.updated", phone="nonsense", customer="c4")
    assert customers_with(book.connection, PHONE) == ["c1", "c2"]


def test_an_opt_out_answers_the_last_commercial_message_that_left_within_a_week_before_it(book: Book) -> None:
    book.left("1", NOW - 8 * DAY, rule="old")
    book.left("2", NOW - 3 * DAY, rule="before")
    book.left("3", NOW - 2 * DAY, rule="last")
    book.left("4", NOW - DAY, rule="notice", klass="notice")
    book.left("5", NOW - DAY, rule="another's", customer="c2")
    book.left("6", NOW + HOUR, rule="after")
    book.tell("customer.unsubscribed")
    book.tell("customer.unsubscribed", at=NOW - 2 * DAY - 1)
    book.tell("customer.unsubscribed", at=NOW - 3 * DAY - 1)
    book.tell("customer.unsubscribed", at=NOW - 8 * DAY - 1)
    assert book.opt_outs() == [
        ("c1", "last", NOW),
        ("c1", "before", NOW - 2 * DAY - 1),
        ("c1", "old", NOW - 3 * DAY - 1),
        ("c1", None, NOW - 8 * DAY - 1),
    ]


def test_a_message_that_never_left_is_not_answered(book: Book) -> None:
    queue(book.connection, [Command(SEND, PHONE)], NOW - 1)
    book.tell("customer.unsubscribed")
    book.tell("customer.subscribed", at=NOW + 1)
    assert book.opt_outs() == [("c1", None, NOW)]


def test_contacts_are_kept_in_the_transaction_of_the_event(tmp_path: Path) -> None:
    open_database(tmp_path / "l.db")
    writer = Writer(tmp_path / "l.db")
    try:
        log = EventLog(writer, lambda: NOW, heed=Contacts(normal).heed)
        told = {"type": "customer.updated", "customer": "c1", "at": NOW}
        bodies = [msgspec.json.encode({"id": "a", "phone": PHONE, **told}), b"{"]
        broken = Arrival("no blob", decode(msgspec.json.encode({"id": "b", "consent": True, **told})), "t")  # type: ignore[arg-type]
        log.append([Arrival(body, decode(body), "t") for body in bodies]).result(10)
        with pytest.raises(Exception, match="cannot store TEXT"):
            log.append([broken]).result(10)
        repeated = msgspec.json.encode({"id": "a", "phone": "13800009999", **told})
        log.append([Arrival(repeated, decode(repeated), "t")]).result(10)  # a conflict is not heeded
        assert writer.submit(lambda connection: contact_of(connection, "c1")).result(10) == Contact(PHONE)
    finally:
        writer.close()
