from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING

import pytest

from triggers.dispatch.gateway import Barred, Rejected, TryLater, Unknown
from triggers.dispatch.http import MAX_ANSWER, MAX_RETRY_AFTER_S, HttpClient, Response, judge, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Part = Callable[[int, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server that does to each request, counted from 1, what a test says; it keeps the heads it read."""

    def __init__(self, act: Part) -> None:
        self.heads: list[str] = []
        self.connections = 0
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()
        self._act = act

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                await self._act(len(self.heads), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


@asynccontextmanager
async def serving(act: Part | Server) -> AsyncIterator[Server]:
    server = act if isinstance(act, Server) else Server(act)
    running = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        running.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


@asynccontextmanager
async def asking(*, connect_timeout_s: float = 5, timeout_s: float = 10, at_once: int = 4) -> AsyncIterator[HttpClient]:
    client = HttpClient(connect_timeout_s=connect_timeout_s, timeout_s=timeout_s, at_once=at_once)
    try:
        yield client
    finally:
        await client.close()


def always(answer: bytes) -> Part:
    async def act(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return act


async def hang(_number: int, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(20)


async def shut(_number: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(_number: int, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("end", [shut, reset])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_request_that_was_read_on_a_kept_connection_that_then_broke_is_not_made_again(
    method: str, end: Part
) -> None:
    async def act(number: int, writer: asyncio.StreamWriter) -> None:
        await (always(OK) if number == 1 else end)(number, writer)

    async with serving(act) as server, asking() as client:
        assert isinstance(await client.request(method, server.url), Response)
        assert await client.request(method, server.url) == Unknown("no readable answer")
        await asyncio.sleep(0.05)  # a second try would have come by now
        assert len(server.heads) == 2
        assert server.connections == 1


@pytest.mark.parametrize("end", [shut, reset])
async def test_a_get_that_was_read_on_a_new_connection_that_then_broke_is_not_made_again(end: Part) -> None:
    async with serving(end) as server, asking() as client:
        assert await client.request("GET", server.url) == Unknown("no readable answer")
        await asyncio.sleep(0.05)
        assert len(server.heads) == 1


async def test_a_connection_that_was_kept_until_the_server_dropped_it_is_not_used_again() -> None:
    async def act(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with serving(act) as server, asking() as client:
        for _ in range(3):
            assert isinstance(await client.request("GET", server.url), Response)
            await asyncio.sleep(0.05)
        assert server.connections == 3


async def test_the_answer_is_the_status_the_headers_in_lower_case_and_the_body() -> None:
    async with (
        serving(always(b"HTTP/1.1 201 Made\r\nX-ID: 7\r\nContent-Length: 2\r\n\r\nok")) as server,
        asking() as client,
    ):
        answer = await client.request("POST", server.url, headers={"Content-Type": "a/b"}, body=b"hello")
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["x-id"], answer.body) == (201, "7", b"ok")
    assert "content-type: a/b\r\n" in server.heads[0].lower()
    assert "content-length: 5\r\n" in server.heads[0].lower()


async def test_the_address_goes_out_as_it_is_written() -> None:
    target = "/a%2Fb/%7E?to=%2b86138&text=%E9%80%80+%41&empty=&mac=1;2"
    async with serving(always(OK)) as server, asking() as client:
        await client.request("GET", server.url + target)
    assert server.heads[0].startswith(f"GET {target} HTTP/1.1\r\n")


async def test_a_refused_connection_was_before_the_first_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with asking() as client:
        assert await client.request("POST", f"http://127.0.0.1:{port}") == TryLater(
            "no connection", refused_connection=True
        )


async def test_an_unknown_host_was_before_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with asking() as client:
        assert await client.request("POST", "http://gateway.example") == TryLater(
            "no connection", refused_connection=True
        )


@pytest.mark.parametrize(
    ("act", "code"), [(always(OK), "no connection"), (shut, "no connection"), (hang, "no connection in time")]
)
async def test_a_handshake_that_fails_or_hangs_was_before_the_first_byte(act: Part, code: str) -> None:
    class Deaf(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read(1)
                await self._act(1, writer)
                await reader.read()
            finally:
                writer.close()

    async with serving(Deaf(act)) as server, asking(connect_timeout_s=0.2) as client:
        url = server.url.replace("http:", "https:")
        assert await client.request("POST", url) == TryLater(code, refused_connection=True)


async def test_no_answer_in_time_may_have_left() -> None:
    async with serving(hang) as server, asking(timeout_s=0.2) as client:
        assert await client.request("GET", server.url) == Unknown("timed out")
        assert len(server.heads) == 1


async def test_an_answer_that_never_ends_in_time_may_have_left() -> None:
    async with (
        serving(always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")) as server,
        asking(timeout_s=0.2) as client,
    ):
        assert await client.request("GET", server.url) == Unknown("timed out")


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"HTTP/1.1 2"]
)
async def test_an_answer_that_cannot_be_read_may_have_left(answer: bytes) -> None:
    async def act(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with serving(act) as server, asking() as client:
        assert await client.request("GET", server.url) == Unknown("no readable answer")
        assert len(server.heads) == 1


async def test_waiting_for_a_free_connection_is_neither_a_refused_one_nor_a_message_that_left() -> None:
    async with serving(hang) as server, asking(timeout_s=1, connect_timeout_s=0.2, at_once=1) as client:
        first = asyncio.create_task(client.request("POST", server.url))
        await asyncio.sleep(0.05)
        assert await client.request("POST", server.url) == TryLater("busy")
        assert await first == Unknown("timed out")
        assert len(server.heads) == 1


async def test_a_redirect_is_not_followed() -> None:
    async with (
        serving(always(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")) as server,
        asking() as client,
    ):
        answer = await client.request("GET", server.url)
    assert isinstance(answer, Response)
    assert judge(answer) == Unknown("http 302")
    assert len(server.heads) == 1


async def test_cookies_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **named: real("127.0.0.1", *rest, **named))
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with serving(always(answer)) as server, asking() as client:
        for _ in range(2):
            await client.request("GET", server.url.replace("127.0.0.1", "gateway.example"))
    assert len(server.heads) == 2
    assert "cookie" not in "".join(server.heads).lower()


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(always(OK)) as server, asking() as client:
        assert isinstance(await client.request("GET", server.url), Response)


async def test_a_long_answer_is_cut() -> None:
    async def act(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_ANSWER * 20}\r\n\r\nx".encode())
        await asyncio.sleep(0.05)
        writer.write(b"x" * (MAX_ANSWER * 20 - 1))

    async with serving(act) as server, asking() as client:
        answer = await client.request("GET", server.url)
    assert isinstance(answer, Response)
    assert len(answer.body) == MAX_ANSWER


async def test_a_packed_answer_is_not_unpacked() -> None:
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"
    async with serving(always(packed)) as server, asking() as client:
        answer = await client.request("GET", server.url)
    assert isinstance(answer, Response)
    assert answer.body == b"\x1f\x8b"
    assert "accept-encoding: identity\r\n" in server.heads[0].lower()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, None),
        (202, None),
        (299, None),
        (301, Unknown("http 301")),
        (304, Unknown("http 304")),
        (400, Rejected("http 400")),
        (401, Barred("http 401")),
        (402, Barred("http 402")),
        (403, Barred("http 403")),
        (404, Rejected("http 404")),
        (405, Barred("http 405")),
        (408, Unknown("http 408")),
        (409, Unknown("http 409")),
        (422, Rejected("http 422")),
        (429, TryLater("http 429")),
        (500, Unknown("http 500")),
        (502, Unknown("http 502")),
        (503, Unknown("http 503")),
        (504, Unknown("http 504")),
    ],
)
def test_a_status_says_what_became_of_the_message(status: int, outcome: object) -> None:
    assert judge(Response(status, {}, b"")) == outcome


def test_a_throttled_message_waits_as_long_as_the_gateway_asks() -> None:
    assert judge(Response(429, {"retry-after": "7"}, b"")) == TryLater("http 429", after_s=7.0)
    assert judge(Response(503, {"retry-after": "7"}, b"")) == Unknown("http 503")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), (" 0 ", 0), ("9" * 400, MAX_RETRY_AFTER_S), ("-7", None), ("soon", None), ("", None), ("\u0667", None)],
)
def test_a_wish_to_wait_is_read_within_limits(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_a_wish_to_wait_may_be_a_date() -> None:
    later = retry_after({"retry-after": formatdate(time() + 60, usegmt=True)})
    assert later is not None
    assert 50 < later <= 60
    assert retry_after({"retry-after": formatdate(time() - 60, usegmt=True)}) == 0
    assert retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}) == MAX_RETRY_AFTER_S
    assert retry_after({}) is None
