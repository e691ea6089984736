"""A good rule file becomes exactly the core's rule that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from triggers.core.conditions import All, AnyOf, Did, In, Not, Where
from triggers.core.rules import Coupon, Placeholder, Recency
from triggers.core.times import DAY, HOUR, Duration, Window, wall_text
from triggers.language import build_rule, build_shop, overlay
from triggers.language.building import ACTIVITY

if TYPE_CHECKING:
    from triggers.core.rules import Rule

SHOP = build_shop(
    {
        "shop": "v1",
        "name": "Test",
        "timezone": "Asia/Shanghai",
        "window": ["10:00-12:00"],
        "recency": {"marketing": {"active_within": "365d", "by": ["order.paid"]}},
        "calendar": {"new_year": ["2026-01-01", "2027-01-01"]},
        "periods": {"sale": {"from": "2026-11-01", "until": "2026-11-11 10:00"}},
    }
)
BASE: dict[str, Any] = {
    "rule": "v1",
    "id": "r",
    "title": "A rule",
    "status": "live",
    "class": "marketing",
    "when": {"event": "order.created"},
    "wait": "3d",
    "send": {"text": "Hello"},
}
SLOTS: dict[str, Any] = {**overlay(BASE, {"when": None, "wait": None}), "schedule": {"at": "2026-11-10 19:00"}}


def rule(changes: dict[str, Any] | None = None, base: dict[str, Any] = BASE) -> Rule:
    return build_rule(overlay(base, changes or {}), SHOP)


def test_a_when_rule_has_these_defaults() -> None:
    built = rule()
    assert (built.id, built.klass, built.status, built.priority, built.wait.text) == (
        "r",
        "marketing",
        "live",
        50,
        "3d",
    )
    assert built.when is not None
    assert (built.when.event, built.when.per, built.when.again, built.when.where) == (
        "order.created",
        None,
        "ignore",
        None,
    )
    assert built.sending.expires == Duration(days=2, text="2d")
    assert built.sending.window == SHOP.window
    assert built.sending.plain
    assert built.recency == Recency(Duration(days=365, text="365d"), ("order.paid",))
    assert not built.limits.shared


def test_slots_expire_with_their_day_unless_told_otherwise() -> None:
    assert rule(base=SLOTS).sending.expires is None
    assert rule({"send": {"expires": "3h"}}, SLOTS).sending.expires == Duration(ms=3 * HOUR, text="3h")


def test_a_notice_has_no_default_window_and_no_recency() -> None:
    built = rule({"class": "notice"})
    assert built.sending.window.always
    assert built.recency is None
    assert rule({"class": "notice", "send": {"window": ["9:00-10:00"]}}).sending.window == Window(
        ((9 * HOUR, 10 * HOUR),)
    )


@pytest.mark.parametrize(
    ("klass", "recency", "expected"),
    [
        ("marketing", "off", None),
        ("marketing", "30d", Recency(Duration(days=30, text="30d"), ("order.paid",))),
        ("member", "30d", Recency(Duration(days=30, text="30d"), ACTIVITY)),
    ],
)
def test_a_rule_overrides_recency(klass: str, recency: str, expected: Recency | None) -> None:
    assert rule({"class": klass, "recency": recency}).recency == expected


def test_any_sign_of_life_is_an_order_a_favourite_or_a_registration() -> None:
    assert set(ACTIVITY) == {
        "customer.registered",
        "order.created",
        "order.paid",
        "order.cancelled",
        "order.refunded",
        "favorite.added",
        "favorite.removed",
    }


def test_cancels_have_their_types_and_match() -> None:
    built = rule(
        {"unless": [{"event": "order.paid"}, {"event": ["order.paid", "order.cancelled"], "match": "customer"}]}
    )
    assert [(each.types, each.match) for each in built.unless] == [
        (("order.paid",), "same"),
        (("order.paid", "order.cancelled"), "customer"),
    ]


def test_conditions_become_a_tree() -> None:
    unpaid = {"did": "order.created", "within": "1 year", "without": {"event": "order.paid", "match": "order_id"}}
    built = rule(
        {
            "audience": {
                "all": [
                    {"where": "event.amount > 5"},
                    {"not": {"did": ["order.paid"], "within": "3d", "where": "event.amount > 1", "at_least": 2}},
                    {"any": [unpaid]},
                ]
            }
        }
    )
    assert isinstance(built.audience, All)
    where, absence, either = built.audience.conditions
    assert isinstance(where, Where)
    assert (where.text, where.names) == ("event.amount > 5", {"event.amount"})
    assert isinstance(absence, Not)
    assert isinstance(absence.condition, Did)
    assert (absence.condition.types, absence.condition.at_least) == (("order.paid",), 2)
    assert isinstance(either, AnyOf)
    assert isinstance(either.conditions[0], Did)
    assert either.conditions[0].without is not None
    assert (either.conditions[0].without.types, either.conditions[0].without.match) == (("order.paid",), "order_id")


def test_a_segment_is_asked_by_its_name() -> None:
    assert rule({"audience": {"in": "answered"}}).audience == In("answered")


def test_texts_are_cut_at_their_gaps() -> None:
    send = {
        "coupon": {"batch": "B", "amount": 20, "min_spend": 100, "valid_for": "7d"},
        "link": "coupon",
        "text": "{customer.name|dear}, {coupon.amount} {{yuan}} {link}",
    }
    built = rule({"send": send})
    assert built.sending.texts[0].text == (
        Placeholder("customer", "name", "dear"),
        ", ",
        Placeholder("coupon", "amount"),
        " {yuan} ",
        Placeholder("link"),
    )
    assert built.sending.coupon == Coupon("B", "20", "100", "7d")
    assert built.sending.link == "coupon"


def test_variants_have_shares_and_a_last_day() -> None:
    variants = [
        {"id": "a", "share": "25%", "until": "2026-10-12", "text": "A"},
        {"id": "b", "share": "75%", "text": "B"},
    ]
    built = rule({"send": {"text": None, "variants": variants}})
    assert not built.sending.plain
    assert [(each.id, each.share) for each in built.sending.texts] == [("a", 0.25), ("b", 0.75)]
    until = built.sending.texts[0].until
    assert until is not None
    assert wall_text(SHOP.zone, until) == "2026-10-13 00:00"
    assert built.sending.texts[1].until is None


def test_limits_are_in_the_units_of_the_core() -> None:
    limits = rule({"limits": {"per_customer": "1 / 30d", "per_day": 5, "total": 6, "budget": 2000}}).limits
    assert limits.per_customer == (1, Duration(days=30, text="30d"))
    assert (limits.per_day, limits.total, limits.budget) == (5, 6, 200_000_000)
    assert rule({"limits": {"per_customer": "once"}}).limits.per_customer == (1, None)


def test_days_of_the_week_narrow_the_window() -> None:
    assert rule({"send": {"days": "workdays"}}).sending.window.days == {0, 1, 2, 3, 4}
    assert rule({"send": {"days": ["sat", "sun"]}}).sending.window.days == {5, 6}
    assert rule({"send": {"days": "all"}}).sending.window.days == set(range(7))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"at": "2026-11-10 19:00"}, "2026-11-10 19:00"),
        ({"every": "day", "at": "10:00"}, "2026-09-02 10:00"),
        ({"every": "week", "day": "thu", "at": "19:00"}, "2026-09-03 19:00"),
        ({"every": "month", "day": 8, "at": "10:00"}, "2026-09-08 10:00"),
        ({"holiday": "new_year", "at": "10:00"}, "2027-01-01 10:00"),
        ({"holiday": ["new_year"], "offset": "-1d", "at": "10:00"}, "2026-12-31 10:00"),
        ({"cron": "30 8 * * MON"}, "2026-09-07 08:30"),
    ],
)
def test_schedules_open_slots_on_the_wall_clock_of_the_shop(schedule: dict[str, Any], expected: str) -> None:
    built = build_rule({**SLOTS, "schedule": schedule}, SHOP)
    start = SHOP.zone.instant(20_697 * DAY + 12 * HOUR)  # 2026-09-01 12:00
    assert built.schedule is not None
    slot = built.schedule.next_after(start)
    assert slot is not None
    assert wall_text(SHOP.zone, slot) == expected


def test_waves_follow_each_other_and_lay_their_own_part_over_the_rule() -> None:
    waves = {
        "responded": ["message.clicked", "store.visited"],
        "within": "48h",
        "min_size": 3,
        "keep_as": "answered",
        "list": [
            {"id": "a", "at": "2026-11-02 10:00", "take": 100},
            {"id": "b", "after": "3d"},
            {
                "id": "c",
                "after": "1d",
                "send": {"text": "{coupon.amount} {link}", "coupon": {"batch": "B", "amount": 5}},
            },
        ],
    }
    variants = [{"id": "v", "text": "V {link}"}, {"id": "w", "text": "W {link}"}]
    changes = {"schedule": None, "waves": waves, "send": {"text": None, "link": "store", "variants": variants}}
    built = rule(changes, SLOTS)
    assert built.waves is not None
    assert [wall_text(SHOP.zone, wave.slot) for wave in built.waves.waves] == [
        "2026-11-02 10:00",
        "2026-11-05 10:00",
        "2026-11-06 10:00",
    ]
    assert (built.waves.min_size, built.waves.keep_as, built.waves.waves[0].take) == (3, "answered", 100)
    assert built.waves.waves[1].sending is None
    own = built.waves.waves[2].sending
    assert own is not None
    assert own.plain
    assert (own.link, own.window, [each.id for each in own.texts]) == ("store", built.sending.window, [""])


def test_periods_and_validity_are_instants() -> None:
    built = rule({"during": "sale", "not_during": ["sale"], "valid": {"from": "2026-01-01"}})
    assert built.during == built.not_during == (SHOP.periods["sale"],)
    assert wall_text(SHOP.zone, built.valid.start) == "2026-01-01 00:00"
    assert wall_text(SHOP.zone, SHOP.periods["sale"].end) == "2026-11-11 10:00"


def test_an_edit_that_makes_no_rule_is_refused_with_its_findings() -> None:
    with pytest.raises(ValueError, match=r"'3m': is 'm' minutes or months\? write 'min' or 'month'"):
        rule({"wait": "3m"})
    with pytest.raises(ValueError, match=r"OrderCreated has no field 'amuont'"):
        rule({"when": {"where": "event.amuont > 1"}})


def test_an_edit_goes_into_mappings_and_null_takes_a_key_away() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert overlay(before, {"a": {"c": [3]}, "d": None, "e": {"f": 2}}) == {"a": {"b": 1, "c": [3]}, "e": {"f": 2}}
    assert before == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_the_same_values_make_the_same_revision() -> None:
    assert rule().revision == rule().revision
    assert rule().revision != rule({"title": "Another"}).revision
