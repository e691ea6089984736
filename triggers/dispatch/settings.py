"""Reads the file that says how messages are delivered: gateways, routes, consent, hours and the month's budget."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, create_model

from triggers.core.times import HOUR, WEEKDAYS, Duration
from triggers.dispatch.gateway_settings import GatewaySettings
from triggers.dispatch.hours import EVERY_DAY, Span, outer_hours
from triggers.dispatch.promises import CLASSES
from triggers.errors import InputUnusable
from triggers.language.amounts import in_thousandths_of_fen
from triggers.language.findings import Misfit, did_you_mean
from triggers.language.folder import read_file
from triggers.language.kinds import Cap, Part, WindowSpan, Word, Yuan
from triggers.language.reading import no_empty_values, validated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from triggers.language.reading import Reading

TYPES: Final = {
    "console": ("triggers.dispatch.gateways.console", "ConsoleSettings"),
    "file": ("triggers.dispatch.gateways.file", "FileSettings"),
    "http": ("triggers.dispatch.gateways.http", "HttpSettings"),
    "kannel": ("triggers.dispatch.gateways.http", "KannelSettings"),
    "aliyun": ("triggers.dispatch.gateways.aliyun", "AliyunSettings"),
    "tencent": ("triggers.dispatch.gateways.tencent", "TencentSettings"),
    "twilio": ("triggers.dispatch.gateways.twilio", "TwilioSettings"),
    "smpp": ("triggers.dispatch.gateways.smpp", "SmppSettings"),
}
"""Every type of gateway and where its settings are; a module is imported when a file names its type."""

CODES: Final = ((5, Duration(ms=HOUR, text="1h")), (10, Duration(days=1, text="1d")))
"""How many codes a number gets where the file does not say: who asks for more is no customer who mistyped one."""

MOST_GATEWAYS = 20
Consent = Literal["required", "registration", "assumed"]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PUBLIC_URL = re.compile(r"https?://[^\s?#@]{1,190}")


def _public_url(text: str) -> str:
    if not _PUBLIC_URL.fullmatch(text):
        raise Misfit("write the address at which gateways reach this service, such as https://messages.shop.example")
    return text.rstrip("/")


class Routes(Part):
    """The gateways of each class, in the order in which they are asked; ``default`` is for classes that have none."""

    verification: list[Word] = Field(default_factory=list)
    notice: list[Word] = Field(default_factory=list)
    marketing: list[Word] = Field(default_factory=list)
    greeting: list[Word] = Field(default_factory=list)
    member: list[Word] = Field(default_factory=list)
    default: list[Word] = Field(default_factory=list)


class HoursModel(Part):
    """When marketing may reach a country, on the customer's clock; ``zone`` where it has several and all are in one."""

    open: WindowSpan
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] | None = None
    zone: Word | None = None

    def span(self) -> Span:
        """Give the hours as they are worked with."""
        days = EVERY_DAY if self.days is None else frozenset(map(WEEKDAYS.index, self.days))
        return Span(*self.open, days=days, zone=self.zone)


class Budget(Part):
    """What all messages of a month may cost together, in yuan."""

    month: Yuan


class DeliveryModel(Part):
    """How messages are delivered. ``codes`` is how many verification messages a number gets, as ``5 / 1h``.

    ``consent``: who gets marketing; ``required``: who said yes; ``registration``: also who signed up and did not say
    no; ``assumed``: all who did not say no.
    """

    delivery: Literal["v1"]
    country: Word = "CN"
    public_url: Annotated[str, AfterValidator(_public_url)] | None = None
    consent: Consent = "required"
    hours: dict[Word, HoursModel] = Field(default_factory=dict)
    budget: Budget | None = None
    codes: Annotated[list[Cap], Field(max_length=10)] = Field(default_factory=lambda: list(CODES))
    routes: Routes = Field(default_factory=Routes)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How messages are delivered; ``month_budget`` in 1/1000 fen. ``routes`` has every class."""

    gateways: Mapping[str, GatewaySettings]
    routes: Mapping[str, tuple[str, ...]]
    country: str = "CN"
    public_url: str | None = None
    consent: Consent = "required"
    hours: Mapping[str, Span] = field(default_factory=dict)
    month_budget: int | None = None
    codes: tuple[tuple[int, Duration], ...] = CODES


def on_the_console() -> Delivery:
    """Deliver to the screen: what a service does that was given no file."""
    settings = settings_class("console").model_validate({"type": "console"})
    return Delivery({"console": settings}, dict.fromkeys(CLASSES, ("console",)), consent="assumed")


def settings_class(kind: str) -> type[GatewaySettings]:
    """Import the settings of a type of gateway."""
    module, name = TYPES[kind]
    found: type[GatewaySettings] = getattr(import_module(module), name)
    return found


def load_delivery(path: Path) -> Delivery:
    """Read a file. Raises InputUnusable with every finding, each with its place."""
    reading = read_file(path)
    model = _validated(reading) if reading.document is not None else None
    if model is not None:
        _check_routes(reading, model)
        _check_hours(reading, model)
    errors = [str(finding) for finding in reading.shown() if finding.severity == "error"]
    if errors or model is None:
        raise InputUnusable("\n".join(errors))
    routes = {klass: tuple(getattr(model.routes, klass) or model.routes.default) for klass in CLASSES}
    return Delivery(
        gateways={name: value for name, value in _gateways(model).items() if isinstance(value, GatewaySettings)},
        routes=routes,
        country=model.country,
        public_url=model.public_url,
        consent=model.consent,
        hours={country: hours.span() for country, hours in model.hours.items()},
        codes=tuple(model.codes),
        month_budget=None if model.budget is None else in_thousandths_of_fen(model.budget.month),
    )


def _validated(reading: Reading) -> Any:
    """Check a file against a model that has each gateway's own settings at its name."""
    assert reading.document is not None  # noqa: S101  the caller has looked
    no_empty_values(reading, reading.document.root)
    plain = reading.document.root.plain()
    told = plain.get("gateways") if isinstance(plain, dict) else None
    fields: dict[str, Any] = {}
    for number, (name, values) in enumerate(told.items() if isinstance(told, dict) else ()):
        if not _NAME.fullmatch(name):  # it stands in addresses and in lists
            reading.key_error(("gateways", name), "name gateways in small letters, digits and '-', 40 at most")
        kind = _class_of(reading, name, values)
        fields[f"gateway_{number}"] = (
            kind | None,
            Field(default=None, alias=name),
        )  # None: it was wrong, and put aside
    if len(fields) > MOST_GATEWAYS:
        reading.error(("gateways",), f"{MOST_GATEWAYS} gateways at most")
    gateways = create_model("Gateways", __base__=Part, **fields)
    model = create_model("Delivery", __base__=DeliveryModel, gateways=(gateways, ...))
    return validated(reading, model, {"delivery": "v1", "gateways": {}})


def _class_of(reading: Reading, name: str, values: Any) -> Any:
    kind = values.get("type") if isinstance(values, dict) else None
    if isinstance(kind, str) and kind in TYPES:
        try:
            return settings_class(kind)
        except ImportError as error:
            reading.error(
                ("gateways", name, "type"), f"'{kind}' needs an extra: pip install 'triggers[{kind}]' ({error.name})"
            )
            return dict[str, Any]
    if not isinstance(values, dict):
        reading.error(("gateways", name), "write keys and values here, 'type' first")
    elif kind is None:
        reading.error(("gateways", name), f"'type' is missing in '{name}'; it is one of {', '.join(TYPES)}")
    else:
        reading.error(
            ("gateways", name, "type"),
            f"unknown type '{kind}'{did_you_mean(str(kind), TYPES) or '; known: ' + ', '.join(TYPES)}",
        )
    return Any


def _gateways(model: Any) -> dict[str, Any]:
    found = model.gateways
    return {(info.alias or name): getattr(found, name) for name, info in type(found).model_fields.items()}


def _check_hours(reading: Reading, model: Any) -> None:
    """Work the hours out once: what cannot be is told here, and not when a message is about to leave."""
    for country, hours in {model.country: None, **model.hours}.items():
        try:
            outer_hours(country, None, {} if hours is None else {country: hours.span()})
        except Misfit as error:
            reading.misfit(("country",) if hours is None else ("hours", country), error)


def _check_routes(reading: Reading, model: Any) -> None:
    known = _gateways(model)
    if not known:
        reading.error((), "there is no gateway under 'gateways'")
        return
    for klass in (*CLASSES, "default"):
        names = getattr(model.routes, klass)
        for number, name in enumerate(names):
            if name in names[:number]:
                reading.error(("routes", klass, number), f"'{name}' is named twice")
            elif name not in known:
                reading.error(("routes", klass, number), f"there is no gateway '{name}'{did_you_mean(name, known)}")
    for klass in CLASSES:
        if not (getattr(model.routes, klass) or model.routes.default):
            reading.error(("routes",), f"{klass} messages have no gateway; name one, or a 'default'")
