"""An alarm when a fleet decides by different rules for over a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from triggers.drivers.kafka.dispatch_metrics import DispatchMetrics
from triggers.drivers.kafka.revisions import Report, Revisions
from triggers.store.fleet import Reached, engine_reached

if TYPE_CHECKING:
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

NOW = 1_788_000_000_000
SECOND = 1_000


def reports(*revisions: str, at_s: float) -> list[Report]:
    return [Report(number, revision, int(NOW + at_s * SECOND)) for number, revision in enumerate(revisions)]


def looks(revisions: Revisions, *seen: tuple[float, list[Report]]) -> list[bool]:
    return [revisions.differ(each, int(NOW + at_s * SECOND)) for at_s, each in seen]


def test_one_set_of_rules_is_no_alarm() -> None:
    assert looks(Revisions(), *((at_s, reports("a", "a", at_s=at_s)) for at_s in (0, 61, 122))) == [False] * 3


def test_different_rules_are_an_alarm_after_a_minute_and_no_more_once_they_are_the_same() -> None:
    seen = [(at_s, reports("a", "b", at_s=at_s)) for at_s in (0, 30, 60, 61)]
    assert looks(Revisions(), *seen, (62, reports("b", "b", at_s=62))) == [False, False, False, True, False]


def test_each_switch_has_a_minute_of_its_own() -> None:
    seen = [
        (0, reports("a", "b", at_s=0)),
        (50, reports("b", "b", at_s=50)),
        (70, reports("b", "c", at_s=70)),
        (125, reports("b", "c", at_s=125)),
        (131, reports("b", "c", at_s=131)),
    ]
    assert looks(Revisions(), *seen) == [False, False, False, False, True]


def test_a_partition_not_heard_of_for_a_minute_says_nothing() -> None:
    old = Report(0, "a", NOW)
    seen = [(at_s, [old, *reports("b", "b", at_s=at_s)[1:]]) for at_s in (30, 60, 61, 100, 200)]
    assert looks(Revisions(), *seen) == [False] * 5


def test_the_alarm_is_logged_once_with_the_partitions_of_each_revision() -> None:
    with capture_logs() as lines:
        looks(Revisions(), *((at_s, reports("a", "b", "a", at_s=at_s)) for at_s in (0, 61, 62, 63)))
    (line,) = lines
    assert line["partitions"] == {"a": [0, 2], "b": [1]}
    assert line["log_level"] == "error"


def test_the_dispatcher_shows_the_alarm(writer: Writer, reader: Connection) -> None:
    metrics = DispatchMetrics()
    shown = []
    for at_s in (0, 61):
        now = NOW + at_s * SECOND
        for part, revision in enumerate("ab"):
            reached = Reached(part, 1, 1, revision, "w", now)
            writer.submit(lambda connection, reached=reached: engine_reached(connection, reached)).result()
        metrics.look(reader, now)
        shown.append(metrics.registry.get_sample_value("triggers_rules_revisions_differ"))
    assert shown == [0, 1]
