from __future__ import annotations

import pytest
from pydantic import ValidationError

from triggers.drivers.kafka.settings import KafkaSettings


def test_sources_are_listed_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGGERS_KAFKA_SOURCES", "orders, wishes,,signups ")
    assert KafkaSettings().sources == ("orders", "wishes", "signups")


def test_a_try_waits_only_where_time_is_real() -> None:
    assert KafkaSettings().settle_ms == 120_000
    assert KafkaSettings(virtual=True).settle_ms == 0
    assert KafkaSettings(virtual=True, settle_s=0.5).settle_ms == 500


def test_a_session_bears_the_loss_of_a_heartbeat() -> None:
    with pytest.raises(ValidationError, match="KAFKA_SESSION_TIMEOUT_S is at least 3 times TRIGGERS_KAFKA_HEARTBEAT_S"):
        KafkaSettings(session_timeout_s=6, heartbeat_s=2.5)
    assert KafkaSettings(session_timeout_s=6, heartbeat_s=2).heartbeat_s == 2


@pytest.mark.parametrize(
    "wrong", [{"app": "a b"}, {"prefix": "#"}, {"partitions": 0}, {"bootstrap": ""}, {"settle_s": -1}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(**wrong)  # type: ignore[arg-type]
