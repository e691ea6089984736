"""A broker that lets in only whom it knows: each way in works, and who is kept out is told why, and what to mend."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from kafka_broker import Cluster, Write, create_topics, free_ports, needed, write
from kafka_guard import KEY_PASSWORD, PASSWORD, USER, Guard, give_rights
from played_workers import PHONE, Fleet, now, until
from running import Running
from structlog.testing import capture_logs

from triggers.drivers.kafka.connection import administering, reading, writing
from triggers.drivers.kafka.dispatch_settings import FaceSettings
from triggers.drivers.kafka.hindrance import hindrance
from triggers.drivers.kafka.letters import Letter, buried
from triggers.drivers.kafka.records import DEAD_LETTERS, EVENTS
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.web_heeding import Heeding
from triggers.drivers.kafka.web_intake import LogIntake
from triggers.drivers.kafka.web_process import WebMetrics
from triggers.errors import AccessRefused, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RUNBOOK = Path(__file__).parents[2] / "deploy" / "RUNBOOK.md"
GOODBYE_S = 0.1


class Guarded(NamedTuple):
    """A broker that runs, and its guard."""

    cluster: Cluster
    guard: Guard

    def settings(self, way: str, **more: object) -> KafkaSettings:
        """Make the settings of somebody who is let in; ``more`` changes some, and None takes them away."""
        guard = self.guard
        tls: dict[str, Any] = {"security_protocol": "SSL", "ssl_cafile": guard.file("authority.pem")}
        user = {"sasl_username": USER, "sasl_password": PASSWORD}
        ours = {
            name: guard.file(file) for name, file in (("ssl_certfile", "client.pem"), ("ssl_keyfile", "client.key"))
        }
        known = {
            "safe": tls | user | {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"},
            "bare": user | {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256"},
            "mutual": tls | ours | {"ssl_key_password": KEY_PASSWORD},
            "renamed": tls,
            "lost": tls,
            "plain": {},
        }
        address = self.cluster.bootstrap if way == "plain" else getattr(guard, way)
        return KafkaSettings(**({"bootstrap": address} | known[way] | more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guard = Guard(tmp_path_factory.mktemp("guard"), free_ports(Guard.PORTS))
    with Cluster(needed(), tmp_path_factory.mktemp("guarded"), guard=guard) as cluster:
        yield Guarded(cluster, guard)


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """Let connections end that aiokafka closes and does not wait for: TLS says goodbye to the broker first."""
    yield
    await asyncio.sleep(GOODBYE_S)
    gc.collect()


@pytest.mark.parametrize(
    ("way", "more"),
    [
        ("safe", {}),
        ("safe", {"sasl_mechanism": "PLAIN"}),
        ("bare", {}),
        ("mutual", {}),
        ("plain", {}),
    ],
)
async def test_each_way_in_is_taken(guarded: Guarded, way: str, more: dict[str, object]) -> None:
    async with administering(guarded.settings(way, **more)) as admin:
        assert await admin.describe_topics() is not None


KEPT_OUT = {
    "a wrong password": (
        "safe",
        {"sasl_password": "not-the-word"},
        r"refuses the user: see TRIGGERS_KAFKA_SASL_USERNAME",
    ),
    "one who is not known": ("safe", {"sasl_username": "nobody"}, "refuses the user"),
    "a password shown in another way": ("bare", {"sasl_mechanism": "PLAIN"}, "set TRIGGERS_KAFKA_SASL_MECHANISM"),
    "an authority that is not known": ("safe", {"ssl_cafile": None}, "not trusted .* set TRIGGERS_KAFKA_SSL_CAFILE"),
    "another authority": ("safe", {"ssl_cafile": "stranger.pem"}, "not trusted .* set TRIGGERS_KAFKA_SSL_CAFILE"),
    "another name than the certificate's": (
        "safe",
        {"bootstrap": "localhost"},
        "is for another name: write --bootstrap",
    ),
    "no certificate": (
        "mutual",
        {"ssl_certfile": None, "ssl_keyfile": None, "ssl_key_password": None},
        "wants a certificate .* set TRIGGERS_KAFKA_SSL_CERTFILE",
    ),
    "a certificate of a stranger": (
        "mutual",
        {"ssl_certfile": "stranger.pem", "ssl_keyfile": "stranger.key", "ssl_key_password": None},
        "wants a certificate .* set TRIGGERS_KAFKA_SSL_CERTFILE",
    ),
}
OTHER_PROTOCOL = {
    "plain to TLS": ("plain", "safe", "speaks PLAINTEXT: set TRIGGERS_KAFKA_SECURITY_PROTOCOL to what is spoken there"),
    "TLS to plain": ("mutual", "plain", "speaks SSL: set TRIGGERS_KAFKA_SECURITY_PROTOCOL"),
    "TLS and a user to plain": ("safe", "plain", "speaks SASL_SSL: set TRIGGERS_KAFKA_SECURITY_PROTOCOL"),
    "nobody to who asks for a user": ("plain", "bare", "speaks PLAINTEXT: set TRIGGERS_KAFKA_SECURITY_PROTOCOL"),
    "a user to who asks for none": ("bare", "plain", "asks for no user: set .*PROTOCOL to PLAINTEXT"),
    "TLS without a user to who asks for one": ("mutual", "safe", "speaks SSL: set TRIGGERS_KAFKA_SECURITY_PROTOCOL"),
    "a user without TLS to TLS": ("bare", "safe", "speaks SASL_PLAINTEXT: set TRIGGERS_KAFKA_SECURITY_PROTOCOL"),
}


async def refused(settings: KafkaSettings, caplog: pytest.LogCaptureFixture) -> ServiceUnusable:
    """Try to look at topics; gives what was told, at once and without a password."""
    began = time.monotonic()
    with pytest.raises(ServiceUnusable) as told:
        async with administering(settings):
            pass
    assert time.monotonic() - began < 10
    for password in (PASSWORD, KEY_PASSWORD, "not-the-word"):
        assert password not in str(told.value) + caplog.text + repr(settings)
    return told.value


@pytest.mark.parametrize(("way", "more", "told"), KEPT_OUT.values(), ids=list(KEPT_OUT))
async def test_who_is_not_known_is_kept_out_for_good(
    guarded: Guarded, way: str, more: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = {name: guarded.guard.file(str(value)) for name, value in more.items() if "." in str(value)}
    if "bootstrap" in more:
        files["bootstrap"] = guarded.guard.safe.replace("127.0.0.1", "localhost")  # type: ignore[assignment]
    error = await refused(guarded.settings(way, **(more | files)), caplog)
    assert isinstance(error, AccessRefused)
    assert re.search(told, str(error)), error


@pytest.mark.parametrize(("way", "to", "told"), OTHER_PROTOCOL.values(), ids=list(OTHER_PROTOCOL))
async def test_who_speaks_otherwise_is_told_what_to_set(
    guarded: Guarded, way: str, to: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = await refused(guarded.settings(way, bootstrap=guarded.settings(to).bootstrap), caplog)
    assert re.search(told, str(error)), error


async def test_a_certificate_that_is_out_of_date_is_to_be_renewed(guarded: Guarded) -> None:
    """Whoever is told to change the authority looks for the fault in the wrong place."""
    made, key = guarded.guard.file("old.pem"), guarded.guard.file("broker.key")
    asked = ("req", "-new", "-key", key, "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1")
    authority = ("-CA", guarded.guard.file("authority.pem"), "-CAkey", guarded.guard.file("authority.key"))
    signed = ("x509", "-req", "-copy_extensions", "copy", *authority, "-set_serial", "2", "-days", "-1", "-out", made)
    request = await asyncio.to_thread(subprocess.run, ["openssl", *asked], check=True, capture_output=True)
    await asyncio.to_thread(subprocess.run, ["openssl", *signed], check=True, capture_output=True, input=request.stdout)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(made, key)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=shown)
    async with server:
        host, port = server.sockets[0].getsockname()
        error = await hindrance(guarded.settings("lost", bootstrap=f"{host}:{port}"))
    assert isinstance(error, AccessRefused)
    assert re.search("out of date .*expired.*: give the broker a new one", str(error))


async def test_one_who_refuses_is_told_of_rather_than_one_who_is_away(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    both = f"127.0.0.1:1,{guarded.guard.safe}"
    error = await refused(guarded.settings("safe", bootstrap=both, sasl_password="not-the-word"), caplog)  # noqa: S106  made up
    assert f"Kafka at {guarded.guard.safe} refuses the user" in str(error)


async def test_whoever_reads_or_writes_is_told_the_same(guarded: Guarded) -> None:
    settings = guarded.settings("safe", sasl_username="nobody")
    with pytest.raises(AccessRefused, match="refuses the user"):
        async with reading(settings):
            pass
    with pytest.raises(AccessRefused, match="refuses the user"):
        async with writing(settings, transactional_id="t"):
            pass


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("renamed", r"certificate of Kafka at localhost:\d+ is for another name"),
        ("lost", r"nobody answers at 127\.0\.0\.1:1,"),
    ],
)
async def test_a_broker_that_others_name_and_that_does_not_let_us_in_is_told(
    guarded: Guarded, way: str, told: str
) -> None:
    with pytest.raises(ServiceUnusable, match=told):
        async with administering(guarded.settings(way)) as admin:
            await admin.describe_topics()


# A whole fleet


@pytest.fixture
def fleet(guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet that is known to the broker, by what stands in the environment; its names are those of the runbook."""
    told = {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SASL_USERNAME": USER,
        "SASL_PASSWORD_FILE": str(guarded.guard.file("password")),
        "SSL_CAFILE": str(guarded.guard.file("authority.pem")),
        "BOOTSTRAP": guarded.guard.safe,
        "PARTITIONS": "2",
        "SETTLE_S": "0",
    }
    for name, value in told.items():
        monkeypatch.setenv(f"TRIGGERS_KAFKA_{name}", value)
    return Fleet(guarded.guard.safe, "triggers.", tmp_path)


async def command(*words: str) -> tuple[int, str]:
    """Run a command; gives its status and what it said."""
    asked = [sys.executable, "-m", "triggers", *words]
    done = await asyncio.to_thread(subprocess.run, asked, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_a_fleet_that_is_known_lives_with_the_rights_that_the_runbook_gives(
    fleet: Fleet, guarded: Guarded, tmp_path: Path
) -> None:
    rights = re.findall(r"^ *k acls --add (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    await give_rights(guarded.cluster.bootstrap, rights)
    await create_topics(guarded.cluster.bootstrap, dict.fromkeys(KafkaSettings().sources, 2))  # the shop's own
    status, said = await command("topics")
    assert status == 0, said
    running = [fleet.running(), *(Running(tmp_path, service=name, rules=fleet.rules) for name in ("worker", "web"))]
    try:
        async with asyncio.timeout(60):
            for each in running:
                while (await asyncio.to_thread(each.get, "/healthz"))[0] != 200:  # noqa: ASYNC110  another process
                    await asyncio.sleep(0.1)
        events = [
            {"id": "e1", "type": "customer.updated", "customer": "c1", "at": now(), "phone": PHONE},
            {"id": "e2", "type": "favorite.added", "customer": "c1", "at": now(), "product_id": "p1"},
            {"id": "e3", "type": "customer.unsubscribed", "customer": "c2", "at": now()},  # asks the dispatcher
        ]
        status, answer = await asyncio.to_thread(running[-1].post, json.dumps(events).encode())
        assert (status, answer["accepted"]) == (200, 3)
        await until(lambda: len(fleet.sent()) == 1, within_s=30)
        log, name = tmp_path / "log.jsonl", f"kafka://{guarded.guard.safe}/{fleet.settings.topic('events')}"
        asked = [
            command("export", "--out", str(log)),
            command("replay", name, "--rules", str(fleet.rules), "--order", "received"),
            command("dead-letters", "list"),
            command("rules", "apply", "wish", "--overdue", "send"),
        ]
        exported, replayed, listed, applied = await asyncio.gather(*asked)
        assert exported[0] == 0, exported
        assert log.read_text().count("favorite.added") == 1
        assert replayed[0] == 0, replayed
        assert "wish" in replayed[1]
        assert listed[0] == 0, listed
        assert "no edit of 'wish' is held" in applied[1]
        for each in running:
            assert await asyncio.to_thread(each.signal, signal.SIGTERM) == 0
            out_of_place = (PASSWORD, "Unable to connect", "Unable connect", "does not tell")
            assert not [line for line in each.err if any(words in line for words in out_of_place)]
    finally:
        for each in running:
            if each.alive:
                each.kill()


async def test_recorded_logs_and_dead_letters_go_the_same_way_and_a_right_that_is_missing_is_told(
    fleet: Fleet, guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGGERS_KAFKA_PREFIX", "load.")
    monkeypatch.setenv("TRIGGERS_KAFKA_APP", "load")
    monkeypatch.setenv("TRIGGERS_KAFKA_SOURCES", "shop")
    user = f"--allow-principal User:{USER}"
    prefixed = "--resource-pattern-type prefixed"
    rights = [
        f"{user} --operation All --topic load. {prefixed}",
        f"{user} --operation Write --transactional-id load {prefixed}",
        f"{user} --operation Read --operation DescribeConfigs --topic shop",
    ]
    await give_rights(guarded.cluster.bootstrap, rights)
    await create_topics(guarded.cluster.bootstrap, {"shop": 1})
    status, said = await command("topics")
    assert status == 0, said
    log = tmp_path / "log.jsonl"
    event = {"id": "e1", "type": "favorite.added", "customer": "c1", "at": now(), "product_id": "p1"}
    log.write_text(json.dumps(event) + "\n{broken\n")
    status, said = await command("load", str(log), "--now")
    assert (status, "1 event in load.events" in said, "1 line to the dead letters" in said) == (0, True, True), said
    letter = buried(Letter("not JSON", "x"), "load.events/0/0", now(), b"c1", b"{broken")
    of_shop = buried(Letter("not JSON", "x"), "shop/0/0", now(), b"c1", b"{broken")
    letters = [Write(row.value, row.key, headers=tuple(row.headers)) for row in (letter, of_shop)]
    await write(guarded.cluster.bootstrap, "load.dead-letters", letters)
    status, said = await command("dead-letters", "requeue", "--origin", "load.events")
    assert (status, "1 letter sent again" in said) == (0, True), said

    status, said = await command("dead-letters", "requeue", "--origin", "shop")
    assert (status, len(said.splitlines())) == (2, 1), said
    assert re.search(r'refuses its user a right \(.*shop\): "A Kafka that asks who comes" in deploy/RUNBOOK\.md', said)
    status, said = await command("topics", "--sources", "unseen")
    assert (status, "refuses its user a right" in said, "unseen" in said) == (2, True, True), said

    worker = Running(tmp_path, service="worker", rules=fleet.rules)  # it has no right to the group
    try:
        assert await asyncio.to_thread(worker.wait) == 2
    finally:
        if worker.alive:
            worker.kill()
    assert "refuses its user a right ([Error 30] GroupAuthorizationFailedError: load)" in worker.err[-1]


async def test_a_fleet_that_is_not_known_ends_at_once_and_says_why(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong").write_text("not-the-word")
    monkeypatch.setenv("TRIGGERS_KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "wrong"))
    began = time.monotonic()
    running = [fleet.running(), *(Running(tmp_path, service=name, rules=fleet.rules) for name in ("worker", "web"))]
    try:
        statuses = await asyncio.gather(*(asyncio.to_thread(each.wait) for each in running))
    finally:
        for each in running:
            if each.alive:
                each.kill()
    assert statuses == [2, 2, 2]
    for each in running:
        assert "refuses the user: see TRIGGERS_KAFKA_SASL_USERNAME" in each.err[-1]
        assert not [line for line in each.err if "not-the-word" in line]
    status, said = await command("topics")
    assert (status, said.count("refuses the user: see TRIGGERS_KAFKA_SASL_USERNAME")) == (2, 1)
    assert time.monotonic() - began < 30


async def test_a_web_process_that_was_let_in_before_goes_on_trying_and_says_why(guarded: Guarded) -> None:
    topics = [f"again.{name}" for name in (EVENTS, DEAD_LETTERS)]
    await create_topics(guarded.cluster.bootstrap, dict.fromkeys(topics, 1))
    rights = [f"--allow-principal User:{USER} --operation All --topic {topic}" for topic in topics]
    await give_rights(guarded.cluster.bootstrap, rights)
    known = face(guarded.settings("safe", prefix="again."))
    unknown = face(guarded.settings("safe", prefix="again.", sasl_password="not-the-word"))  # noqa: S106  made up
    heeding = Heeding(known)
    intake = LogIntake(known, heeding, WebMetrics().events)
    running = asyncio.create_task(intake.run())
    try:
        await until(lambda: intake.connected)
        with capture_logs() as logs:
            intake._settings = unknown  # noqa: SLF001  as if Kafka had another password by now
            intake._broken.set()  # noqa: SLF001  as if a write had failed
            await until(lambda: len([each for each in logs if "refuses the user" in each.get("error", "")]) > 1)
        assert not intake.connected
        intake._settings = known  # noqa: SLF001  as if it were the old one again
        await until(lambda: intake.connected)
    finally:
        running.cancel()
        await asyncio.wait({running})
        await intake.close()
        await heeding.close()


def face(settings: KafkaSettings) -> FaceSettings:
    """Make a web process's settings of those of all."""
    return FaceSettings(**{name: getattr(settings, name) for name in settings.model_fields_set})
