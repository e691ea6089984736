"""What all processes of a fleet are told: options of the command line, or ``TRIGGERS_KAFKA_…`` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from triggers.drivers.kafka.connection_settings import PREFIX, ConnectionSettings

MOST_PARTITIONS: Final = 1_024
DAY_S: Final = 86_400
SETTLE_MS: Final = 120_000
HEARTBEATS: Final = 3


class KafkaSettings(ConnectionSettings):
    """The settings of workers, dispatchers and web processes. Times in seconds, sizes in bytes or records.

    ``app`` names the fleet: its consumer group and its transactions. ``sources`` are the shop's own topics.
    ``partitions`` and ``replication`` count where topics are made.
    ``virtual`` says that the log's times are recorded ones: nothing is ticked, and nothing waits for the wall's clock.
    ``settle_s`` None is 120 in real time and 0 in virtual time (S16).
    ``reload_s`` is how often the rules are looked at for edits; 0 is never. An edit that makes more than
    ``max_due_at_once`` waiting messages of the fleet due at once is not taken up (S38).
    """

    app: str = Field(default="triggers", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    prefix: str = Field(default="triggers.", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    sources: Annotated[tuple[str, ...], NoDecode] = ("orders", "favorites", "registrations")
    partitions: int = Field(default=8, ge=1, le=MOST_PARTITIONS)
    replication: int = Field(default=1, ge=1, le=10)
    rules: Path = Path("rules")
    virtual: bool = False
    settle_s: float | None = Field(default=None, ge=0, le=DAY_S, allow_inf_nan=False)
    reload_s: float = Field(default=5.0, ge=0, le=3_600, allow_inf_nan=False)
    max_due_at_once: int = Field(default=200, ge=0)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    session_timeout_s: float = Field(default=6.0, ge=1, le=300)
    heartbeat_s: float = Field(default=1.0, gt=0, le=60)
    tick_s: float = Field(default=1.0, gt=0, le=60)
    max_chunk: int = Field(default=8_192, ge=1, le=100_000)
    max_customers_in_memory: int = Field(default=50_000, ge=1)

    @field_validator("sources", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """Take names joined by commas, as they stand in the environment."""
        return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        """Refuse heartbeats so rare that one that is lost ends a worker's session."""
        if self.heartbeat_s * HEARTBEATS > self.session_timeout_s:
            raise ValueError(f"{PREFIX}SESSION_TIMEOUT_S is at least {HEARTBEATS} times {PREFIX}HEARTBEAT_S")
        return self

    @property
    def settle_ms(self) -> int:
        """How long after due a try waits for what is still on its way, in milliseconds."""
        if self.settle_s is not None:
            return int(self.settle_s * 1_000)
        return 0 if self.virtual else SETTLE_MS

    def topic(self, name: str) -> str:
        """Name one of the fleet's own topics in full."""
        return f"{self.prefix}{name}"
