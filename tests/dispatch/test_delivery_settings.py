from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.core.times import HOUR
from triggers.dispatch.hours import Span
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import TYPES, Delivery, load_delivery, on_the_console, settings_class
from triggers.errors import InputUnusable

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
delivery: v1
gateways:
  a: {type: console}
routes: {default: [a]}
"""
WHOLE = """\
delivery: v1
country: FR
public_url: https://sms.shop.example/in/
consent: registration
hours:
  FR: {open: 10:00-19:30, days: [mon, tue]}
  US: {open: 09:00-20:00, zone: America/New_York}
budget: {month: 12.50}
gateways:
  first: {type: console, price: 0.045, rate: 2.5, at_once: 3, billing: delivered, secret: "env:SMS_SECRET"}
  second-2: {type: console, templates: {r: T1, r/b: T2}}
routes:
  verification: [second-2, first]
  marketing: [first]
  default: [second-2]
"""
SECRET = "hunter2-and-more"  # noqa: S105  what must never be shown


def write(path: Path, text: str) -> Path:
    file = path / "delivery.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def told(path: Path, text: str) -> list[str]:
    """Load a file that is wrong, and list what is said of it, without its name."""
    file = write(path, text)
    with pytest.raises(InputUnusable) as caught:
        load_delivery(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    return [line.removeprefix(f"{file}:") for line in lines]


def test_a_whole_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_SECRET", SECRET)
    found = load_delivery(write(tmp_path, WHOLE))
    assert found.routes == {
        "verification": ("second-2", "first"),
        "notice": ("second-2",),
        "member": ("second-2",),
        "greeting": ("second-2",),
        "marketing": ("first",),
    }
    assert (found.country, found.public_url, found.consent) == ("FR", "https://sms.shop.example/in", "registration")
    assert found.month_budget == 1_250_000
    assert found.hours == {
        "FR": Span(10 * HOUR, 19 * HOUR + HOUR // 2, days=frozenset({0, 1})),
        "US": Span(9 * HOUR, 20 * HOUR, zone="America/New_York"),
    }
    first, second = found.gateways["first"], found.gateways["second-2"]
    assert (first.rate, first.at_once, first.billing) == (2.5, 3, "delivered")
    assert first.secret is not None
    assert first.secret.get_secret_value() == SECRET
    assert second.templates == {"r": "T1", "r/b": "T2"}
    assert second.open("second-2").name == "second-2"


def test_what_a_file_leaves_out_is_as_a_careful_shop_wants_it(tmp_path: Path) -> None:
    found = load_delivery(write(tmp_path, GOOD))
    assert found == Delivery(found.gateways, dict.fromkeys(CLASSES, ("a",)))
    assert (found.country, found.consent, found.public_url) == ("CN", "required", None)
    assert (found.hours, found.month_budget) == ({}, None)


def test_without_a_file_everything_goes_to_the_screen_and_to_everybody() -> None:
    found = on_the_console()
    assert (list(found.gateways), found.consent) == (["console"], "assumed")
    assert found.routes == dict.fromkeys(CLASSES, ("console",))


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_settings_of_its_own_name(kind: str) -> None:
    assert settings_class(kind).model_fields["type"].annotation.__args__ == (kind,)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("country: cn", "5:10: error: unknown country 'cn'; write two capital letters, such as CN"),
        ("country: ZZ", "5:10: error: unknown country 'ZZ'; write two capital letters, such as CN"),
        ("consent: maybe", "5:10: error: 'maybe' is not one of required, registration, assumed"),
        ("budget: {month: -5}", "5:17: error: -5: an amount is between 0 and 1000000000 yuan"),
        ("budget: {day: 5}", "5:10: error: unknown key 'day'; known here: month"),
        ("budgt: {month: 5}", "5:1: error: unknown key 'budgt'; did you mean 'budget'?"),
        ("public_url: ftp://x", "5:13: error: write the address at which gateways reach this service"),
        ("public_url: https://x/?a=b", "5:13: error: write the address at which gateways reach this service"),
        ("public_url: https://me@x/", "5:13: error: write the address at which gateways reach this service"),
        ("public_url: ''", "5:13: error: write the address at which gateways reach this service"),
        ("hours: {ZZ: {open: 09:00-20:00}}", "5:13: error: unknown country 'ZZ'"),
        ("hours: {FR: {open: 20:00-10:00}}", "5:20: error: '20:00-10:00': a window may not cross midnight"),
        ("hours: {FR: {open: 9-20}}", "5:20: error: '9' is not a time of day; write 10:00"),
        ("hours: {FR: {open: 09:00-20:00, days: []}}", "5:13: error: the hours of FR do not begin before they end"),
        ("hours: {FR: {open: 09:00-20:00, zone: Mars/X}}", "5:13: error: unknown time zone 'Mars/X'"),
        ("hours: {US: {open: 19:50-20:00}}", "5:13: error: these hours never hold in all 29 time zones of US at once"),
        ("hours: {FR: {days: [mon]}}", "error: 'open' is missing"),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_what_to_write(tmp_path: Path, more: str, said: str) -> None:
    lines = told(tmp_path, f"{GOOD}{more}\n")
    assert any(said in line for line in lines), lines


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ("{type: consol}", "3:13: error: unknown type 'consol'; did you mean 'console'?"),
        ("{type: pigeon}", "3:13: error: unknown type 'pigeon'; known: console, file, http"),
        ("{type: [console]}", "3:13: error: unknown type"),
        ("{rate: 5}", "3:6: error: 'type' is missing in 'a'; it is one of console, file"),
        ("console", "3:6: error: write keys and values here, 'type' first"),
        ("{type: console, rate: 0}", "3:28: error: must be greater than 0"),
        ("{type: console, rate: fast}", "3:28: error: must be a valid number"),
        ("{type: console, rate: 100001}", "3:28: error:"),
        ("{type: console, at_once: 0}", "3:31: error: must be 1 or more"),
        ("{type: console, at_once: 1001}", "3:31: error:"),
        ("{type: console, timeout_s: 0}", "3:33: error: must be greater than 0"),
        ("{type: console, connect_timeout_s: 61}", "3:41: error:"),
        ("{type: console, price: -1}", "3:29: error: -1: an amount is between 0 and 1000000000 yuan"),
        ("{type: console, billing: never}", "3:31: error: 'never' is not one of submitted, delivered"),
        ("{type: console, templates: {r: 5}}", "3:37: error: write text here"),
        ("{type: console, secret: 5}", "3:30: error: write the secret as text, or 'env:NAME'"),
        ("{type: console, secret: 'env:NOT_THERE'}", "3:30: error: the environment has no NOT_THERE"),
        ("{type: console, colour: red}", "3:22: error: unknown key 'colour'"),
    ],
)
def test_a_wrong_gateway_is_told_with_its_place_and_what_to_write(tmp_path: Path, gateway: str, said: str) -> None:
    lines = told(tmp_path, GOOD.replace("{type: console}", gateway))
    assert any(said in line for line in lines), lines
    assert not any("there is no gateway" in line for line in lines)  # it is there, and wrong


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("{default: [b]}", "4:20: error: there is no gateway 'b'"),
        ("{default: [a], notice: [aa]}", "4:33: error: there is no gateway 'aa'; did you mean 'a'?"),
        ("{default: [a, a]}", "4:23: error: 'a' is named twice"),
        ("{marketing: [a]}", "4:9: error: verification messages have no gateway; name one, or a 'default'"),
        ("{default: []}", "4:9: error: marketing messages have no gateway"),
        ("{default: [a], bulk: [a]}", "4:24: error: unknown key 'bulk'; known here: verification, notice"),
        ("{default: a}", "4:19: error:"),
        ("[a]", "4:9: error:"),
    ],
)
def test_a_wrong_route_is_told_with_its_place_and_what_to_write(tmp_path: Path, routes: str, said: str) -> None:
    lines = told(tmp_path, GOOD.replace("{default: [a]}", routes))
    assert any(said in line for line in lines), lines


@pytest.mark.parametrize("name", ["a,b", "a/../b", "A", "-a", "a b", "ä", "a" * 41])
def test_a_gateways_name_fits_into_an_address_and_a_list(tmp_path: Path, name: str) -> None:
    text = GOOD.replace("  a:", f'  "{name}":').replace("[a]", f'["{name}"]')
    assert any("3:3: error: name gateways in small letters, digits and '-'" in line for line in told(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: error: the file is empty"),
        ("- 1\n", "1:1: error: write keys and values: 'delivery: v1', 'gateways: …'"),
        ("hello\n", "1:1: error: write keys and values: 'delivery: v1', 'gateways: …'"),
        ("~\n", "1:1: error: write keys and values: 'delivery: v1', 'gateways: …'"),
        ("delivery: v2\n", "1:11: error: 'v2' is not 'v1'"),
        ("delivery: v1\n", "1:1: error: 'gateways' is missing"),
        ("delivery: v1\ngateways: {}\n", "error: there is no gateway under 'gateways'"),
        ("delivery: v1\ngateways:\n", "2:1: error: 'gateways' has no value"),
        (GOOD + "gateways: {b: {type: console}}\n", "5:1: error: duplicate key 'gateways' (first on line 2)"),
        (GOOD.replace("routes: {default: [a]}", ""), "verification messages have no gateway"),
        (GOOD + "hours: [", "error:"),
        (
            "delivery: v1\ngateways:\n" + "".join(f"  g{n}: {{type: console}}\n" for n in range(21)),
            "3:3: error: 20 gateways at most",
        ),
    ],
)
def test_a_file_that_cannot_be_used_at_all_says_what_is_missing(tmp_path: Path, text: str, said: str) -> None:
    lines = told(tmp_path, text)
    assert any(said in line for line in lines), lines


def test_all_findings_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = told(tmp_path, GOOD.replace("[a]", "[b]").replace("console}", "console, rate: 0}") + "consent: no\n")
    assert [line.split(":")[0] for line in lines] == ["3", "4", "5"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match=r"nowhere\.yaml"):
        load_delivery(tmp_path / "nowhere.yaml")


def test_a_secret_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_SECRET", SECRET)
    found = load_delivery(write(tmp_path, WHOLE))
    settings = found.gateways["first"]
    for shown in (found, settings, settings.model_dump()):
        assert SECRET not in f"{shown!r} {shown}"


@pytest.mark.parametrize("broken", [f"secret: {SECRET}, rate: none", f"secret: {SECRET * 400}", f"secret: [{SECRET}]"])
def test_a_secret_is_shown_in_no_error_either(tmp_path: Path, broken: str) -> None:
    lines = told(tmp_path, GOOD.replace("type: console", f"type: console, {broken}"))
    assert lines
    assert SECRET not in "".join(lines)
