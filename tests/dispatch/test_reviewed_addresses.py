"""What ``triggers gateways addresses`` shows is where a gateway's call is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from triggers import cli
from triggers.dispatch.gateway import Call, Heard, Refused
from triggers.dispatch.settings import load_delivery

if TYPE_CHECKING:
    from pathlib import Path

GATEWAYS = """
gateways:
  ali: {type: aliyun, access_key_id: a, access_key_secret: bbbbbbbb, sign_name: x, secret: first-secret}
  kan: {type: kannel, url: "http://127.0.0.1:9/cgi-bin/sendsms", username: u, password: p, secret: second-secret}
  deaf: {type: kannel, url: "http://127.0.0.1:9/cgi-bin/sendsms", username: u, password: p}
  own:
    type: http
    secret: third-secret
    request: {url: "http://127.0.0.1:9/send", json: {to: "{phone}", body: "{text}"}}
    answer: {id: id}
    receipts: {status: state, delivered: [ok], command: ref}
  out: {type: console}
routes: {default: [ali, kan, deaf, own, out]}
"""
BODIES = {
    ("ali", "receipts"): b"[]",
    ("ali", "replies"): b"[]",
    ("kan", "replies"): b"",
    ("own", "receipts"): b'{"state": "ok", "ref": "x"}',
}


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    path = tmp_path / "delivery.yaml"
    path.write_text("delivery: v1\npublic_url: https://shop.example\n" + GATEWAYS, encoding="utf-8")
    return path


def test_each_address_is_one_that_its_gateway_believes(delivery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gateways", "addresses", "--delivery", str(delivery)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {(name, kind) for name, kind, _ in lines} == set(BODIES)
    settings = load_delivery(delivery).gateways
    for name, kind, address in lines:
        assert address.startswith(f"https://shop.example/v1/callbacks/{name}/{kind}?mac=")
        method = "GET" if name == "kan" else "POST"
        filled = {"%p": "+8613800001234", "%e": "52"}  # as Kannel fills it in
        query = {key: filled.get(value, value) for key, value in parse_qsl(urlsplit(address).query)}
        heard = settings[name].open(name).hear(Call(kind, method, address, query, {}, BODIES[name, kind]))  # type: ignore[attr-defined]
        assert isinstance(heard, Heard), (name, kind)
        refused = settings[name].open(name).hear(Call(kind, method, address, {}, {}, BODIES[name, kind]))  # type: ignore[attr-defined]
        assert isinstance(refused, Refused), (name, kind)


def test_without_a_public_address_there_is_nothing_to_show(delivery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delivery.write_text("delivery: v1\n" + GATEWAYS, encoding="utf-8")
    assert cli.main(["gateways", "--delivery", str(delivery), "addresses"]) == 1
    assert "public_url" in capsys.readouterr().err
    assert cli.main(["gateways", "addresses"]) != 0
