"""What the settings of every gateway have in common; each gateway's own model adds what it needs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, SecretStr, WithJsonSchema

from triggers.language.findings import Misfit
from triggers.language.kinds import Part, Yuan

if TYPE_CHECKING:
    from triggers.dispatch.gateway import Gateway

FROM_ENVIRONMENT = "env:"
MAX_SECRET = 4_000


def _secret(value: object) -> SecretStr:
    """Take a secret as it is, or from the environment where it says ``env:NAME``."""
    if isinstance(value, SecretStr):
        return value
    text = value if isinstance(value, str) else ""
    if text.startswith(FROM_ENVIRONMENT):
        name = text.removeprefix(FROM_ENVIRONMENT)
        text = os.environ.get(name, "")
        if not text:
            raise Misfit(f"the environment has no {name}; set it, or write another 'env:NAME'")
    if not 0 < len(text) <= MAX_SECRET:
        raise Misfit("write the secret as text, or 'env:NAME' to take it from the environment")
    return SecretStr(text)


Secret = Annotated[SecretStr, PlainValidator(_secret), PlainSerializer(str), WithJsonSchema({"type": "string"})]
"""A secret: never shown, and best kept in the environment."""


def _number(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


Number = Annotated[float, BeforeValidator(_number)]
"""A whole or a decimal number, as YAML has them."""


class GatewaySettings(Part, ABC):
    """What every gateway may say of itself. ``price`` in yuan a part; times in seconds.

    ``rate`` is how many messages a second it takes, ``at_once`` how many may be under way; ``billing`` whether it bills
    what is submitted or what is delivered. ``secret`` authenticates its callbacks. ``templates`` has the code of an
    approved text by rule id, or by "rule id/variant".
    """

    type: str
    price: Yuan | None = None
    rate: Annotated[Number, Field(gt=0, le=100_000)] = 20.0
    at_once: Annotated[int, Field(ge=1, le=1_000)] = 16
    connect_timeout_s: Annotated[Number, Field(gt=0, le=60)] = 3.0
    timeout_s: Annotated[Number, Field(gt=0, le=120)] = 10.0
    billing: Literal["submitted", "delivered"] = "submitted"
    secret: Secret | None = None
    templates: dict[str, str] = Field(default_factory=dict)

    @abstractmethod
    def open(self, name: str) -> Gateway:
        """Make the gateway that these settings describe. Does no I/O; connections are made when something is sent."""
