"""What a service can be told from outside: options of the command line, or ``TRIGGERS_…`` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY_S = 86_400
LEAST_TOKEN, MOST_TOKEN = 16, 500


def usable_token(token: SecretStr | None) -> SecretStr | None:
    """Refuse a token that can be guessed or cannot be written in a header. Raises ValueError."""
    text = "" if token is None else token.get_secret_value()
    if token is not None and not (LEAST_TOKEN <= len(text) <= MOST_TOKEN and text.isascii() and text.isprintable()):
        raise ValueError(f"TRIGGERS_API_TOKEN has {LEAST_TOKEN} to {MOST_TOKEN} printable characters of ASCII")
    return token


class Settings(BaseSettings):
    """The settings of ``triggers run``. Sizes in bytes, times in seconds.

    ``speed`` None is real time; a number runs the input in virtual time, that many times as fast; 0 as fast as it can
    be read.
    ``max_kept_in_memory`` counts the events that customers in memory keep, some 600 bytes each.
    ``api_token`` is asked of whoever brings events or messages; it is for the environment, not for the command line.
    ``upkeep_s`` is how often gateways and rules are judged by their numbers.
    ``settle_s`` None is 120 in real time and 0 in virtual time (S16).
    ``reload_s`` is how often the rules are looked at for edits; 0 is never. An edit that makes more than
    ``max_due_at_once`` waiting messages due at once is not taken up (S38).
    """

    model_config = SettingsConfigDict(env_prefix="TRIGGERS_", extra="forbid", frozen=True)

    rules: Path = Path("rules")
    db: Path = Path("triggers.db")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    input: Path | None = None
    delivery: Path | None = None
    speed: float | None = Field(default=None, ge=0, le=10_000_000, allow_inf_nan=False)
    settle_s: float | None = Field(default=None, ge=0, le=DAY_S, allow_inf_nan=False)
    exit_at_end: bool = False
    log_format: Literal["auto", "json", "text"] = "auto"
    api_token: SecretStr | None = None

    upkeep_s: float = Field(default=30.0, gt=0, le=3_600, allow_inf_nan=False)
    reload_s: float = Field(default=5.0, ge=0, le=3_600, allow_inf_nan=False)
    max_due_at_once: int = Field(default=200, ge=0)
    max_body: int = Field(default=5_000_000, ge=1_000)
    max_events_in_body: int = Field(default=20_000, ge=1)
    max_bodies_waiting: int = Field(default=200, ge=1)
    max_events_waiting: int = Field(default=100_000, ge=1)
    max_customers_in_memory: int = Field(default=20_000, ge=1)
    max_kept_in_memory: int = Field(default=300_000, ge=1)

    _token_is_usable = field_validator("api_token")(usable_token)

    @property
    def settle_ms(self) -> int:
        """How long after due a try waits for what is still on its way, in milliseconds."""
        if self.settle_s is not None:
            return int(self.settle_s * 1_000)
        return 120_000 if self.speed is None else 0
