"""What says how a fleet comes to Kafka: what does not go together is refused, and every client is made with it."""

from __future__ import annotations

import ast
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import faust
import pytest
from kafka_guard import KEY_PASSWORD, Guard
from pydantic import ValidationError

from triggers.drivers.kafka.connection_settings import ConnectionSettings
from triggers.drivers.kafka.dispatch_settings import DispatchSettings, FaceSettings
from triggers.drivers.kafka.faust_app import make_app
from triggers.drivers.kafka.fetching import fetch
from triggers.drivers.kafka.options import made, settings_of
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.errors import InputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CLIENTS = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient"}
SECRET = "what-nobody-may-see"  # noqa: S105  made up
USER = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", "sasl_username": "fleet"}


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(tmp_path_factory.mktemp("guard"), range(Guard.PORTS))


def given(guard: Guard, **settings: str) -> dict[str, str]:
    """Put the guard's folder before the names of files."""
    return {name: str(guard.file(value)) if "file" in name else value for name, value in settings.items()}


# What is refused


REFUSED = {
    "a user in the plain": (
        {"sasl_username": "fleet"},
        "SASL_USERNAME is given, but .*PROTOCOL is PLAINTEXT: .* SASL_SSL",
    ),
    "a password in the plain": ({"sasl_password": SECRET}, "SASL_PASSWORD is given, but .* PLAINTEXT: .* SASL_SSL"),
    "a mechanism with TLS alone": (
        {"security_protocol": "SSL", "sasl_mechanism": "PLAIN"},
        "SASL_MECHANISM is given, but .* is SSL: .* SASL_SSL",
    ),
    "an authority in the plain": ({"ssl_cafile": "authority.pem"}, "SSL_CAFILE is given, but .* PLAINTEXT: .* SSL, or"),
    "an authority for a user in the plain": (
        USER | {"sasl_password": SECRET, "ssl_cafile": "authority.pem"},
        "SSL_CAFILE is given, but .* is SASL_PLAINTEXT: set that to SASL_SSL",
    ),
    "no mechanism": ({"security_protocol": "SASL_SSL", "sasl_username": "fleet"}, "SASL_MECHANISM is missing"),
    "no user": ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "SASL_USERNAME is missing"),
    "no password": (USER, "password .* is missing: give .*SASL_PASSWORD or .*SASL_PASSWORD_FILE"),
    "an empty one": (USER | {"sasl_password": ""}, "password .* is missing"),
    "two": (USER | {"sasl_password": SECRET, "sasl_password_file": "password"}, "password .* is given twice"),
    "one of two lines": (USER | {"sasl_password": f"{SECRET}\nx"}, "SASL_PASSWORD: one line of 1 to 4000 bytes"),
    "a user of none": (USER | {"sasl_username": "a\x00b", "sasl_password": SECRET}, "SASL_USERNAME: one line"),
    "a file that is not there": (
        USER | {"sasl_password_file": "nowhere"},
        "PASSWORD_FILE: .*nowhere cannot be read: No",
    ),
    "a file with more in it": (USER | {"sasl_password_file": "authority.pem"}, "SASL_PASSWORD_FILE: one line of"),
    "a file that is no text": (USER | {"sasl_password_file": "binary"}, "SASL_PASSWORD_FILE: .*binary is not text"),
    "an authority that is not there": (
        {"security_protocol": "SSL", "ssl_cafile": "nowhere"},
        "SSL_CAFILE: .*nowhere cannot be read: No such file",
    ),
    "a folder for an authority": (
        {"security_protocol": "SSL", "ssl_cafile": "."},
        "SSL_CAFILE: .* cannot be read: Is a",
    ),
    "an authority that is none": (
        {"security_protocol": "SSL", "ssl_cafile": "password"},
        "SSL_CAFILE: .*password has no certificate in PEM",
    ),
    "a certificate without its key": (
        {"security_protocol": "SSL", "ssl_certfile": "client.pem"},
        "SSL_KEYFILE is missing",
    ),
    "a key without its certificate": (
        {"security_protocol": "SSL", "ssl_keyfile": "client.key"},
        "SSL_CERTFILE is missing",
    ),
    "a key that is not there": (
        {"security_protocol": "SSL", "ssl_certfile": "client.pem", "ssl_keyfile": "nowhere"},
        "SSL_KEYFILE: .*nowhere cannot be read",
    ),
    "another's key": (
        {"security_protocol": "SSL", "ssl_certfile": "broker.pem", "ssl_keyfile": "stranger.key"},
        "SSL_CERTFILE and .*SSL_KEYFILE: .* are no certificate and its key",
    ),
    "a wrong password of a key": (
        {
            "security_protocol": "SSL",
            "ssl_certfile": "client.pem",
            "ssl_keyfile": "client.key",
            "ssl_key_password": SECRET,
        },
        "or TRIGGERS_KAFKA_SSL_KEY_PASSWORD is not the key's",
    ),
    "no password of a key": (
        {"security_protocol": "SSL", "ssl_certfile": "client.pem", "ssl_keyfile": "client.key"},
        "or TRIGGERS_KAFKA_SSL_KEY_PASSWORD is not the key's",
    ),
    "a password of no key": (
        {"security_protocol": "SSL", "ssl_key_password": SECRET},
        "SSL_KEY_PASSWORD is given, but TRIGGERS_KAFKA_SSL_KEYFILE is not",
    ),
    "no protocol that there is": ({"security_protocol": "TLS"}, "TRIGGERS_KAFKA_SECURITY_PROTOCOL: .*'SASL_SSL'"),
    "no mechanism that is known": (USER | {"sasl_mechanism": "GSSAPI"}, "TRIGGERS_KAFKA_SASL_MECHANISM: .*'PLAIN'"),
    "a user in the address": ({"bootstrap": f"fleet:{SECRET}@kafka:9092"}, "--bootstrap: HOST:PORT is expected; users"),
    "no address": (
        {"bootstrap": "kafka"},
        "--bootstrap: HOST:PORT is expected, several joined by commas; found 'kafka'",
    ),
    "a port that there is not": (
        {"bootstrap": "kafka:9092,kafka:65536"},
        "HOST:PORT is expected, .* found 'kafka:65536'",
    ),
    "no port": ({"bootstrap": "kafka:0"}, "HOST:PORT is expected, several joined by commas; found 'kafka:0'"),
    "a password where the protocol was left open": ({"security_protocol": "", "sasl_password": SECRET}, "is PLAINTEXT"),
}


@pytest.mark.parametrize(("wrong", "told"), REFUSED.values(), ids=list(REFUSED))
def test_what_does_not_go_together_is_refused_with_its_variable_and_without_the_secret(
    guard: Guard, wrong: dict[str, str], told: str
) -> None:
    guard.file("binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(click.UsageError, match=told) as refused:
        settings_of(given(guard, **wrong))
    assert SECRET not in str(refused.value)
    with pytest.raises(ValidationError) as raw:
        KafkaSettings(**given(guard, **wrong))  # type: ignore[arg-type]
    assert SECRET not in str(raw.value)


@pytest.mark.parametrize("kind", [FaceSettings, DispatchSettings])
def test_every_process_of_a_fleet_refuses_it(kind: type[KafkaSettings]) -> None:
    with pytest.raises(click.UsageError, match="TRIGGERS_KAFKA_SASL_PASSWORD is given, but") as refused:
        made(kind, {"sasl_password": SECRET})
    assert SECRET not in str(refused.value)
    with pytest.raises(click.UsageError, match=r"^TRIGGERS_API_TOKEN has 16 to 500"):
        made(kind, {"api_token": "short"})


@pytest.mark.parametrize("rest", ["127.0.0.1:1/events", "127.0.0.1:1/events?x=1", "[127.0.0.1:1/events", "/"])
def test_a_user_in_the_name_of_a_log_is_not_shown(tmp_path: Path, rest: str) -> None:
    with (tmp_path / "log").open("wb") as file, pytest.raises(InputUnusable) as refused:
        fetch(f"kafka://fleet:{SECRET}@{rest}", file)
    assert SECRET not in str(refused.value)
    assert "TRIGGERS_KAFKA_SASL_USERNAME" in str(refused.value)


# What is taken


def test_all_of_it_stands_in_the_environment(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "fleet"}
    files = {"sasl_password_file": "password", "ssl_cafile": "authority.pem"}
    for name, value in given(guard, **wanted, **files, sasl_password="", ssl_certfile="").items():
        monkeypatch.setenv(f"TRIGGERS_KAFKA_{name.upper()}", "" if name == "ssl_certfile" else value)
    settings = settings_of({"bootstrap": "kafka:9093"})
    options = settings.client_options
    assert options.pop("sasl_plain_password") == guard.file("password").read_text().rstrip("\n")
    context = options.pop("ssl_context")
    assert options == {
        "bootstrap_servers": "kafka:9093",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "fleet",
    }
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(context.get_ca_certs()) == 1  # no other authority is trusted


def test_a_certificate_and_its_key_are_taken_with_the_keys_password(guard: Guard) -> None:
    files = given(guard, ssl_certfile="client.pem", ssl_keyfile="client.key")
    settings = KafkaSettings(security_protocol="SSL", ssl_key_password=KEY_PASSWORD, **files)  # type: ignore[arg-type]
    assert settings.client_options["ssl_context"].check_hostname
    assert KEY_PASSWORD not in repr(settings)


def test_without_any_of_it_kafka_is_spoken_to_plainly() -> None:
    options = KafkaSettings().client_options
    assert options == {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT", "ssl_context": None}


def test_what_compose_hands_on_empty_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ConnectionSettings.model_fields.keys() - {"bootstrap"}:
        monkeypatch.setenv(f"TRIGGERS_KAFKA_{name.upper()}", "")
    assert KafkaSettings().client_options["security_protocol"] == "PLAINTEXT"


def test_a_secret_is_not_shown_by_what_holds_it() -> None:
    settings = KafkaSettings(**USER, sasl_password=SECRET)  # type: ignore[arg-type]
    shown = (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json())
    assert all(SECRET not in each for each in shown)
    app = make_app(settings)
    assert SECRET not in repr(app.conf.broker_credentials)


def test_fausts_own_clients_are_told_the_same(guard: Guard) -> None:
    user = USER | {"sasl_password": SECRET}
    files = given(guard, ssl_cafile="authority.pem")

    def credentials(**told: str) -> object:
        return make_app(KafkaSettings(**told)).conf.broker_credentials  # type: ignore[arg-type]

    plain, tls = credentials(), credentials(security_protocol="SSL", **files)
    bare, safe = credentials(**user), credentials(**(user | files | {"security_protocol": "SASL_SSL"}))
    assert plain is None
    assert isinstance(bare, faust.SASLCredentials)
    assert (bare.protocol.value, bare.mechanism.value) == ("SASL_PLAINTEXT", "SCRAM-SHA-256")
    assert (bare.username, bare.password) == ("fleet", SECRET)
    assert isinstance(safe, faust.SASLCredentials)
    assert safe.protocol.value == "SASL_SSL"
    assert isinstance(tls, faust.SSLCredentials)
    assert tls.context.check_hostname


# No client without it


def calls(text: str) -> Iterator[ast.Call]:
    """Find what makes a client."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CLIENTS:
                yield node


def is_told(call: ast.Call) -> bool:
    """Tell whether a client is made with ``**….client_options``, and with nothing that would stand against it."""
    told: list[Any] = [each.value for each in call.keywords if each.arg is None]
    against = {each.arg for each in call.keywords} & KafkaSettings().client_options.keys()
    return not against and any(isinstance(each, ast.Attribute) and each.attr == "client_options" for each in told)


def test_no_client_comes_to_kafka_in_another_way() -> None:
    found = [
        (path.relative_to(ROOT), call)
        for path in sorted((ROOT / "triggers").rglob("*.py"))
        for call in calls(path.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 10
    assert [f"{path}:{call.lineno}" for path, call in found if not is_told(call)] == []


def test_a_client_that_is_not_told_is_found() -> None:
    [bare] = calls("aiokafka.AIOKafkaConsumer('t', bootstrap_servers=settings.bootstrap)")
    [other] = calls("AIOKafkaProducer(**options)")
    [against] = calls("AIOKafkaProducer(**settings.client_options, security_protocol='PLAINTEXT')")
    [told] = calls("AIOKafkaProducer(**self._settings.client_options, acks='all')")
    assert [is_told(each) for each in (bare, other, against, told)] == [False, False, False, True]
