"""Lines to an SMSC that fall silent, break or are never made: what was sent is not sent again, by nobody."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from smpp_scenes import HOUR_MS, PHONE, answering, instead_of_submit, listening, message, opened, told, until
from smsc import (
    BIND,
    BIND_RESP,
    ENQUIRE_LINK,
    NACK,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    UNBIND,
    Line,
    Unit,
    free_port,
    smsc,
)

from triggers.dispatch.gateway import Accepted, Barred, Fate, Receipt, TryLater, Unknown
from triggers.dispatch.smpp import link, session

if TYPE_CHECKING:
    from pathlib import Path

LONG = "亲爱的顾客们" * 20
REFUSED = TryLater("no connection", refused_connection=True)


# What is not answered


async def test_silence_is_unknown_and_the_message_was_submitted_once() -> None:
    async with smsc() as one, opened(one.port, timeout_s=0.3) as gateway:
        one.answer = answering(None, "second")
        began = asyncio.get_running_loop().time()
        assert await gateway.send(message()) == Unknown("timed out")
        assert 0.25 < asyncio.get_running_loop().time() - began < 1
        assert await gateway.send(message("next")) == Accepted("second")
        assert [submit.short_message for submit in one.submits] == [b"hello", b"next"]
        assert one.commands().count(BIND) == 1


async def test_an_answer_that_comes_too_late_is_told_as_a_receipt() -> None:
    late = asyncio.Event()

    async def slow(count: int, _octets: bytes) -> str | int:
        await late.wait()
        return "1F" if count == 1 else 0x0B

    async with (
        smsc() as one,
        opened(one.port, timeout_s=0.2, id_form="hex_to_decimal") as gateway,
        listening(gateway) as heard,
    ):
        one.answer = slow
        answers = [await gateway.send(message(command=command)) for command in ("c1", "c2")]
        late.set()
        await until(lambda: len(heard) == 2)
    assert answers == [Unknown("timed out")] * 2
    assert {receipt for what in heard for receipt in what.receipts} == {
        Receipt(Fate.ON_ITS_WAY, "31", "c1", PHONE, "answered late"),
        Receipt(Fate.UNDELIVERED, None, "c2", PHONE, "ESME_RINVDSTADR", invalid_number=True),
    }


async def test_a_part_that_is_accepted_too_late_does_not_make_the_message_accepted() -> None:
    late = asyncio.Event()

    async def slow(_count: int, _octets: bytes) -> str:
        await late.wait()
        return "first part"

    async with smsc() as one, opened(one.port, timeout_s=0.2) as gateway, listening(gateway) as heard:
        one.answer = slow
        assert await gateway.send(message("a" * 200)) == Unknown("timed out")
        late.set()
        await one.until(lambda: any(unit.command == SUBMIT_SM_RESP for unit in one.told))
        assert await gateway.send(message()) == Accepted("first part")
        assert heard == []


async def test_a_reset_after_the_submit_is_unknown_and_nothing_is_sent_again() -> None:
    def cut(line: Line, unit: Unit) -> bool:
        if unit.command == SUBMIT_SM and len(one.submits) == 1:
            line.cut()
            return True
        return False

    async with smsc() as one, opened(one.port, soon=True) as gateway, listening(gateway):
        one.meddle = cut
        assert await gateway.send(message()) == Unknown("connection lost")
        await one.until(lambda: len(one.esmes) >= 1 and one.commands().count(BIND) == 2)
        await until(lambda: len(one.lines) == 2)
        assert await gateway.send(message("after")) == Accepted("id-1")
        assert [submit.short_message for submit in one.submits] == [b"hello", b"after"]


async def test_what_many_wait_for_is_unknown_to_each_when_the_connection_breaks() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering(None)
        sends = [asyncio.create_task(gateway.send(message(str(number)))) for number in range(5)]
        await one.until(lambda: len(one.submits) == 5)
        one.lines[0].cut()
        assert await asyncio.gather(*sends) == [Unknown("connection lost")] * 5
        assert len(one.submits) == 5


async def test_an_answer_that_is_no_smpp_is_unknown() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = instead_of_submit(lambda _unit: b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert await gateway.send(message()) == Unknown("connection lost")


async def test_a_cancelled_send_leaves_the_connection_to_others() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering(None, "second")
        task = asyncio.create_task(gateway.send(message()))
        await one.until(lambda: one.submits)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await gateway.send(message("other")) == Accepted("second")
        assert one.commands().count(BIND) == 1


async def test_a_message_that_waits_for_the_window_in_vain_is_never_sent() -> None:
    async with smsc() as one, opened(one.port, at_once=1, timeout_s=0.4) as gateway:
        one.answer = answering(None)
        answers = await asyncio.gather(*(gateway.send(message(text)) for text in ("first", "second")))
        await asyncio.sleep(0.2)
    assert answers == [Unknown("timed out"), TryLater("busy")]
    assert [submit.short_message for submit in one.submits] == [b"first"]


async def test_a_message_that_had_to_wait_has_the_validity_of_the_moment_it_leaves() -> None:
    def hold(line: Line, unit: Unit) -> bool:
        held.append(lambda: line.tell(Unit(SUBMIT_SM_RESP, 0, unit.number, b"id\0")))
        return True

    held: list[Any] = []
    async with smsc() as one, opened(one.port, at_once=1, validity="relative") as gateway:
        one.meddle = lambda line, unit: unit.command == SUBMIT_SM and hold(line, unit)
        lives_ms = (HOUR_MS, 10_500, 1_500)
        sends = [asyncio.create_task(gateway.send(message(valid_ms=valid_ms))) for valid_ms in lives_ms]
        await one.until(lambda: one.submits)
        await asyncio.sleep(0.6)
        held[0]()
        await one.until(lambda: len(one.submits) == 2)
        held[1]()
        assert await asyncio.gather(*sends) == [Accepted("id"), Accepted("id"), TryLater("past its validity")]
        assert [submit.validity_period for submit in one.submits] == ["000000005959000R", "000000000009000R"]


async def test_answers_that_nobody_asked_for_and_second_ones_change_nothing() -> None:
    def twice(line: Line, unit: Unit) -> bool:
        if unit.command == SUBMIT_SM:
            line.tell(Unit(SUBMIT_SM_RESP, 0x0B, unit.number + 7))
            line.tell(Unit(ENQUIRE_LINK | NACK, 0, unit.number))
            for status in (0, 0x0B):
                line.tell(Unit(SUBMIT_SM_RESP, status, unit.number, b"id\0"))
        return unit.command == SUBMIT_SM

    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = twice
        assert [await gateway.send(message()) for _ in range(3)] == [Accepted("id")] * 3


async def test_numbers_begin_again_after_the_last_and_none_is_used_twice_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "BIND_NUMBER", 3)
    monkeypatch.setattr(session, "MAX_NUMBER", 5)
    async with smsc() as one, opened(one.port, timeout_s=0.1) as gateway:
        one.meddle = lambda _line, unit: unit.command == SUBMIT_SM
        for _ in range(3):
            assert await gateway.send(message()) == Unknown("timed out")
        one.meddle = lambda _line, _unit: False
        assert [await gateway.send(message()) for _ in range(3)] == [Accepted(f"id-{count}") for count in (1, 2, 3)]
        numbers = [unit.number for unit in one.sent if unit.command == SUBMIT_SM]
    assert numbers == [4, 5, 1, 2, 3, 2]


# No connection


async def test_where_no_smsc_is_nothing_was_sent() -> None:
    async with opened(free_port()) as gateway:
        assert await gateway.send(message()) == REFUSED


async def test_an_smsc_that_is_gone_is_tried_again_after_a_while() -> None:
    async with smsc() as one:
        port = one.port
        gateway = told(port).open("smpp")
        assert await gateway.send(message()) == Accepted("id-1")
    answer = await gateway.send(message())
    assert isinstance(answer, TryLater)
    assert answer.refused_connection
    assert len(one.submits) == 1
    await gateway.close()


async def test_what_could_not_be_sent_while_there_was_no_connection_is_not_sent_later() -> None:
    held: list[tuple[Line, Unit]] = []

    def hold(line: Line, unit: Unit) -> bool:
        if unit.command == BIND_RESP:
            held.append((line, unit))
        return unit.command == BIND_RESP

    async with smsc() as one, opened(one.port, timeout_s=0.2) as gateway:
        one.meddle = hold
        answers = await asyncio.gather(*(gateway.send(message(str(number))) for number in range(3)))
        assert answers == [TryLater("no connection in time", refused_connection=True)] * 3
        one.meddle = lambda _line, _unit: False
        held[0][0].tell(held[0][1])
        await asyncio.sleep(0.05)
        assert await gateway.send(message("now")) == Accepted("id-1")
        assert [submit.short_message for submit in one.submits] == [b"now"]
        assert one.commands().count(BIND) == 1


async def test_an_smsc_that_does_not_answer_the_bind_refuses_us() -> None:
    async with smsc() as one, opened(one.port, connect_timeout_s=0.2) as gateway:
        one.meddle = lambda _line, unit: unit.command == BIND
        assert await gateway.send(message()) == TryLater("no connection in time", refused_connection=True)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0x0E, Barred("ESME_RINVPASWD")),
        (0x0F, Barred("ESME_RINVSYSID")),
        (0x0D, Barred("ESME_RBINDFAIL")),
        (0x08, TryLater("status 0x00000008", refused_connection=True)),
        (0x05, TryLater("status 0x00000005", refused_connection=True)),
        (0x58, TryLater("ESME_RTHROTTLED", refused_connection=True)),
    ],
)
async def test_a_refused_bind_bars_us_if_the_credentials_are_wrong(status: int, answer: Any) -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = refusing_binds(status)
        assert await gateway.send(message()) == answer
        again = await gateway.send(message())
        assert (again._replace(after_s=None) if isinstance(again, TryLater) else again) == answer
        assert one.commands().count(BIND) == 1  # the account must not be locked by trying
        assert one.submits == []


def refusing_binds(status: int) -> Any:
    def meddle(line: Line, unit: Unit) -> bool:
        if unit.command == BIND:
            line.tell(Unit(BIND_RESP, status, unit.number, b"\0"))
        return unit.command == BIND

    return meddle


async def test_a_failed_bind_after_a_good_one_is_the_old_connection_s() -> None:
    async with smsc() as one, opened(one.port, soon=True) as gateway:
        await gateway.send(message())
        one.meddle = refusing_binds(0x0D)
        one.lines[0].cut()
        answer: Any = None
        async with asyncio.timeout(3):
            while getattr(answer, "code", None) != "ESME_RBINDFAIL":
                answer = await gateway.send(message())
                await asyncio.sleep(0.02)
        assert isinstance(answer, TryLater)


async def test_attempts_to_connect_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(link.random, "uniform", lambda _low, high: limits.append(high) or 0.0)
    async with opened(free_port()) as gateway:
        answers = [await gateway.send(message()) for _ in range(9)]
    assert answers == [REFUSED] * 9
    assert limits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("steady_s", "expected"), [(10.0, [1, 2, 4]), (0.0, [])])
async def test_connections_that_do_not_last_are_made_more_rarely(
    monkeypatch: pytest.MonkeyPatch, steady_s: float, expected: list[float]
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(link.random, "uniform", lambda _low, high: limits.append(high) or 0.0)
    monkeypatch.setattr(link, "STEADY_S", steady_s)
    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = cutting
        for _ in range(3):
            assert await gateway.send(message()) == Unknown("connection lost")
        one.meddle = lambda _line, _unit: False
        assert await gateway.send(message()) == Accepted("id-1")
    assert limits == expected


def cutting(line: Line, unit: Unit) -> bool:
    if unit.command == SUBMIT_SM:
        line.cut()
    return unit.command == SUBMIT_SM


async def test_an_smsc_may_speak_before_it_lets_us_in() -> None:
    def speak(line: Line, unit: Unit) -> bool:
        if unit.command == BIND_RESP:
            line.tell(Unit(ENQUIRE_LINK, 5, 1))
        return False

    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = speak
        assert await gateway.send(message()) == Accepted("id-1")


async def test_between_two_attempts_a_message_is_told_when_to_come_again() -> None:
    async with opened(free_port()) as gateway:
        await gateway.send(message())
        answer = await gateway.send(message())
    assert isinstance(answer, TryLater)
    assert answer.after_s is not None
    assert 0 < answer.after_s <= 1


async def test_a_silent_line_is_given_up_and_made_again() -> None:
    async with (
        smsc() as one,
        opened(one.port, soon=True, enquire_link_s=1, timeout_s=0.3) as gateway,
        listening(gateway),
    ):
        await one.until(lambda: one.esmes)
        one.meddle = lambda _line, unit: unit.command == ENQUIRE_LINK
        await one.until(lambda: ENQUIRE_LINK in one.commands())
        one.meddle = lambda _line, _unit: False
        await one.until(lambda: one.commands().count(BIND) == 2)


async def test_an_smsc_is_answered_when_it_asks_whether_we_are_there() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        await gateway.send(message())
        one.lines[0].tell(Unit(ENQUIRE_LINK, 0, 77))
        one.lines[0].tell(Unit(0x103, 0, 78, b"data_sm"))
        await one.until(lambda: len(one.sent) == 4)
        assert one.sent[2:] == [Unit(ENQUIRE_LINK | NACK, 0, 77), Unit(NACK, 3, 78)]


async def test_an_smsc_may_take_leave_and_is_bound_again() -> None:
    async with smsc() as one, opened(one.port, soon=True) as gateway, listening(gateway):
        await one.until(lambda: one.esmes)
        one.lines[0].tell(Unit(UNBIND, 0, 5))
        await one.until(lambda: len(one.esmes) == 2)
        assert Unit(UNBIND | NACK, 0, 5) in one.sent
        assert await gateway.send(message()) == Accepted("id-1")


async def test_closing_takes_leave_and_sends_nothing_more() -> None:
    async with smsc() as one:
        gateway = told(one.port).open("smpp")
        await gateway.send(message())
        await gateway.close()
        assert one.commands()[-1] == UNBIND
        assert await gateway.send(message()) == TryLater("closed")
        await gateway.close()
        assert len(one.submits) == 1


async def test_between_two_parts_closing_keeps_the_second_back() -> None:
    async with smsc() as one:
        gateway = told(one.port).open("smpp")

        async def close_first(_count: int, _octets: bytes) -> str:
            one.start(gateway.close())
            await one.until(lambda: UNBIND in one.commands())
            return "first"

        one.answer = close_first
        one.meddle = lambda _line, unit: unit.command in {UNBIND, UNBIND | NACK}
        assert await gateway.send(message("a" * 200)) == Unknown("part 2 of 2: closed")
        await gateway.close()
        assert len(one.submits) == 1


async def test_closing_during_a_connection_tells_who_waits_for_it() -> None:
    async with smsc() as one:
        one.meddle = lambda _line, unit: unit.command == BIND
        gateway = told(one.port).open("smpp")
        task = asyncio.create_task(gateway.send(message()))
        await one.until(lambda: BIND in one.commands())
        await gateway.close()
        assert await task == TryLater("closed")


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine's own, with its key."""
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    names = ["-subj", "/CN=smsc", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path) + ".key"]
    subprocess.run(
        ["openssl", "req", "-x509", "-days", "2", *key, *names, "-out", path], check=True, capture_output=True
    )
    path.write_text(path.read_text() + (path.parent / (path.name + ".key")).read_text())
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_connection_may_be_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with smsc(tls=server_side(certificate)) as one, opened(one.port, tls=True) as gateway:
        assert await gateway.send(message()) == Accepted("id-1")


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with smsc(tls=server_side(certificate)) as one, opened(one.port, tls=True) as gateway:
        assert await gateway.send(message()) == REFUSED
        assert one.commands() == []


async def test_where_no_tls_is_spoken_the_password_does_not_leave() -> None:
    got: list[bytes] = []

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1_000))
        writer.close()

    plain = await asyncio.start_server(join, "127.0.0.1", 0)
    async with plain, opened(plain.sockets[0].getsockname()[1], tls=True) as gateway:
        assert await gateway.send(message()) == REFUSED
    assert b"s3cret" not in got[0]
