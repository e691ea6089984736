"""What a fleet's dispatcher and its web processes are told beside what all processes of the fleet are."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator

from triggers.drivers.kafka.settings import KafkaSettings
from triggers.settings import usable_token

FRESH_S: Final = 5.0
"""What a partition of the log said so long ago is not what it says now."""


class FaceSettings(KafkaSettings):
    """The settings of what takes requests over HTTP. Sizes in bytes, times in seconds.

    ``api_token`` is asked of whoever brings events or messages; it is for the environment (TRIGGERS_API_TOKEN).
    ``fresh_s`` is how old may be what was last read of a customer's log when something commercial leaves to them.
    """

    port: int = Field(default=8_080, ge=0, le=65_535)
    log_format: Literal["auto", "json", "text"] = "auto"
    api_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("api_token", "TRIGGERS_KAFKA_API_TOKEN", "TRIGGERS_API_TOKEN")
    )
    max_body: int = Field(default=5_000_000, ge=1_000)
    max_events_in_body: int = Field(default=20_000, ge=1)
    max_events_waiting: int = Field(default=100_000, ge=1)
    fresh_s: float = Field(default=FRESH_S, gt=0, le=3_600, allow_inf_nan=False)

    _token_is_usable = field_validator("api_token")(usable_token)

    @property
    def token(self) -> str | None:
        """The token in the clear."""
        return None if self.api_token is None else self.api_token.get_secret_value()


class DispatchSettings(FaceSettings):
    """The settings of ``triggers dispatcher``. Times in seconds.

    ``go_on_at`` says where to go on with a database that is not the one that was used last: behind the commands that
    the last dispatcher had taken over (``committed``), or behind all there are (``latest``). ``lease_s`` is for how long
    a dispatcher may send after Kafka confirmed that it is the only one, every ``beat_s``; after ``patience_s`` without
    that it ends.
    """

    db: Path = Path("dispatcher.db")
    delivery: Path | None = None
    upkeep_s: float = Field(default=30.0, gt=0, le=3_600, allow_inf_nan=False)
    go_on_at: Literal["committed", "latest"] | None = None
    beat_s: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    lease_s: float = Field(default=5.0, gt=0, le=300, allow_inf_nan=False)
    patience_s: float = Field(default=120.0, gt=0, le=3_600, allow_inf_nan=False)
    max_bodies_waiting: int = Field(default=200, ge=1)
    max_records: int = Field(default=2_000, ge=1, le=100_000)
