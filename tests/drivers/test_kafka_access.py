"""A broker that lets in only whom it knows: each way in works, and who is kept out is told why, and what to mend."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from kafka_broker import Cluster, free_ports, needed
from kafka_guard import KEY_PASSWORD, PASSWORD, USER, Guard

from triggers.drivers.kafka.connection import administering, reading, writing
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.errors import AccessRefused, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Guarded(NamedTuple):
    """A broker that runs, and its guard."""

    cluster: Cluster
    guard: Guard

    def settings(self, way: str, **more: object) -> KafkaSettings:
        """Make the settings of somebody who is let in; ``more`` changes some, and None takes them away."""
        guard = self.guard
        tls = {"security_protocol": "SSL", "ssl_cafile": guard.file("authority.pem")}
        user = {"sasl_username": USER, "sasl_password": PASSWORD}
        ours = {
            name: guard.file(file) for name, file in (("ssl_certfile", "client.pem"), ("ssl_keyfile", "client.key"))
        }
        known = {
            "safe": tls | user | {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"},
            "bare": user | {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256"},
            "mutual": tls | ours | {"ssl_key_password": KEY_PASSWORD},
            "plain": {},
        }
        address = self.cluster.bootstrap if way == "plain" else getattr(guard, way)
        return KafkaSettings(**({"bootstrap": address} | known[way] | more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guard = Guard(tmp_path_factory.mktemp("guard"), free_ports(3))
    with Cluster(needed(), tmp_path_factory.mktemp("guarded"), guard=guard) as cluster:
        yield Guarded(cluster, guard)


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
    """Try each kind of client; gives what the last was told, at once and without the password."""
    began = time.monotonic()
    with pytest.raises(ServiceUnusable) as first:
        async with administering(settings):
            pass
    with pytest.raises(ServiceUnusable) as second:
        async with reading(settings):
            pass
    with pytest.raises(ServiceUnusable) as third:
        async with writing(settings, transactional_id="t"):
            pass
    assert time.monotonic() - began < 10
    assert str(first.value) == str(second.value) == str(third.value)
    for password in (PASSWORD, KEY_PASSWORD, "not-the-word"):
        assert password not in str(third.value) + caplog.text + repr(settings)
    return third.value


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


async def test_one_who_refuses_is_told_of_rather_than_one_who_is_away(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    both = f"127.0.0.1:1,{guarded.guard.safe}"
    error = await refused(guarded.settings("safe", bootstrap=both, sasl_password="not-the-word"), caplog)  # noqa: S106  made up
    assert f"Kafka at {guarded.guard.safe} refuses the user" in str(error)
