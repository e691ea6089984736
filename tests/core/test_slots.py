"""Messages that go by slots and in waves: S18, S29."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scenes import DAY, HOUR, MINUTE, START, book, event, rule, shop
from stories import FREE, Story, arriving, on, wall

from triggers.core.customer import Customer
from triggers.core.decisions import Send
from triggers.core.engine import advance, step
from triggers.core.rulebook import Pins

TEN = {"every": "day", "at": "10:00"}
SPREAD = Pins(spread=True)


def daily(**keys: Any) -> Any:
    return rule(**{"schedule": TEN, "send": FREE, **keys})


def known(*names: str) -> list[Any]:
    return [event("customer.registered", 0, customer=name) for name in names or ("c1",)]


def walls(story: Story, zone: str = "Asia/Shanghai") -> list[str]:
    return [wall(send.at, zone) for send in story.sends]


def test_a_slot_opens_for_every_customer_there_is() -> None:
    story = Story(daily()).tell(*known("a", "b", "c")).until(DAY)
    assert [(send.customer, wall(send.at)) for send in story.sends] == [(who, "2026-09-02 10:00") for who in "abc"]


def test_a_slot_does_not_open_for_customers_who_come_after_it() -> None:
    story = Story(daily()).tell(*known("a")).tell(event("customer.registered", DAY, customer="b")).until(DAY + HOUR)
    assert [send.customer for send in story.sends] == ["a"]


def test_a_customer_who_comes_at_the_instant_of_a_slot_gets_it() -> None:
    story = Story(daily()).tell(*known("a")).tell(event("customer.registered", 23 * HOUR, customer="b")).until(DAY)
    assert sorted(send.customer for send in story.sends) == ["a", "b"]


def test_every_slot_is_a_message_of_its_own() -> None:
    story = Story(daily()).tell(*known()).until(4 * DAY)
    assert walls(story) == [f"2026-09-0{day} 10:00" for day in (2, 3, 4, 5)]
    assert len({send.id for send in story.sends}) == 4


def test_the_audience_is_read_when_leaving_not_when_the_slot_opens() -> None:
    evening = {"text": "x", "window": ["19:00-22:00"]}
    city = daily(audience={"where": 'customer.city == "X"'}, send=evening)
    story = Story(city).tell(*known("a", "b"), event("customer.updated", DAY + HOUR, customer="a", city="X"))
    story.until(2 * DAY)
    assert [(send.customer, wall(send.at)) for send in story.sends] == [("a", "2026-09-02 19:00")]


def test_a_slots_message_is_useful_until_the_end_of_its_local_day() -> None:
    late = daily(send={"text": "x", "window": ["09:00-09:30"]})
    story = Story(late).tell(*known()).until(DAY + 13 * HOUR + 1)
    assert story.ends == ["expired"]
    assert wall(story.decisions[-1].at) == "2026-09-03 00:00"


def test_a_slots_own_expiry_counts_if_it_is_given() -> None:
    late = daily(send={"text": "x", "window": ["09:00-09:30"], "expires": "1d"})
    assert walls(Story(late).tell(*known()).until(2 * DAY)) == ["2026-09-03 09:00"]


def test_a_slot_missed_by_downtime_is_opened_late_as_long_as_it_is_useful() -> None:
    rules = book(daily(send={"text": "x", "window": ["10:00-11:00", "20:00-21:00"]}))
    customer = Customer(id="c1")
    step(rules, customer, known()[0], START)
    decisions = advance(rules, customer, START + 5 * DAY)  # nobody looked for five days
    assert [wall(d.at) for d in decisions if isinstance(d, Send)] == [
        f"2026-09-0{day} 10:00" for day in (2, 3, 4, 5, 6)
    ]


def test_a_slot_is_never_opened_twice() -> None:
    rules, customer = book(daily()), Customer(id="c1")
    decisions = step(rules, customer, known()[0], START)
    for at in (23 * HOUR, 23 * HOUR + 1, 23 * HOUR + 1, DAY, DAY):
        decisions += step(rules, customer, None, START + at)
    assert len([d for d in decisions if isinstance(d, Send)]) == 1


def test_slots_before_the_rule_was_loaded_are_not_opened() -> None:
    rules, customer = book(), Customer(id="c1")
    step(rules, customer, known()[0], START)
    loaded = book(replace(daily(), since=START + 2 * DAY))
    sends = [d for d in advance(loaded, customer, START + 3 * DAY) if isinstance(d, Send)]
    assert [wall(send.at) for send in sends] == ["2026-09-04 10:00"]


@pytest.mark.parametrize("status", ["paused", "draft"])
def test_a_paused_rule_opens_no_slots(status: str) -> None:
    assert Story(daily(status=status)).tell(*known()).until(9 * DAY).decisions == []


def test_slots_of_periods_that_are_all_over_are_not_looked_for_for_ever() -> None:
    past = shop(periods={"sale": {"from": "2025-09-03", "until": "2025-09-05"}})
    for schedule in (TEN, {"cron": "0 10 * * *"}):
        story = Story(daily(in_shop=past, during=["sale"], schedule=schedule), in_shop=past).tell(*known())
        assert story.until(9 * DAY).sends == []


def test_slots_outside_valid_or_during_do_not_open() -> None:
    valid = daily(valid={"from": "2026-09-03", "until": "2026-09-04"})
    assert walls(Story(valid).tell(*known()).until(9 * DAY)) == ["2026-09-03 10:00", "2026-09-04 10:00"]
    sale = shop(periods={"sale": {"from": "2026-09-03 10:00", "until": "2026-09-05 10:00"}})
    story = Story(daily(in_shop=sale, during=["sale"]), in_shop=sale).tell(*known()).until(9 * DAY)
    assert walls(story) == ["2026-09-03 10:00", "2026-09-04 10:00"]


def test_the_message_of_a_slot_in_a_closed_period_leaves_after_it_or_never() -> None:
    sale = shop(periods={"sale": {"from": "2026-09-02 09:00", "until": "2026-09-03 15:00"}})
    story = Story(daily(in_shop=sale, not_during=["sale"]), in_shop=sale).tell(*known()).until(2 * DAY + 12 * HOUR)
    assert walls(story) == ["2026-09-03 15:00"]
    assert story.ends == ["outside period", "sent"]


@pytest.mark.parametrize(
    ("zone", "start", "slots"),
    [
        ("Europe/Paris", "2026-10-24 00:00", ["2026-10-24 02:30", "2026-10-25 02:30", "2026-10-26 02:30"]),
        ("Europe/Paris", "2027-03-27 00:00", ["2027-03-27 02:30", "2027-03-28 03:30", "2027-03-29 02:30"]),
        ("America/New_York", "2026-10-31 02:00", ["2026-10-31 02:30", "2026-11-01 02:30", "2026-11-02 02:30"]),
    ],
)
def test_daily_slots_come_once_a_day_also_when_clocks_change(zone: str, start: str, slots: list[str]) -> None:
    there = shop(timezone=zone)
    for schedule in ({"every": "day", "at": "02:30"}, {"cron": "30 2 * * *"}):
        begin = on(start, zone)
        story = Story(daily(in_shop=there, schedule=schedule), in_shop=there, clock=begin)
        story.tell(event("customer.registered", begin)).until(begin + 3 * DAY - HOUR)
        after_gap = "03:30" if "every" in schedule else "03:00"  # cron's way: as soon as the clock has jumped
        assert walls(story, zone) == [slot.replace("03:30", after_gap) for slot in slots]


def test_a_slot_on_the_31st_is_the_last_day_of_shorter_months() -> None:
    story = Story(daily(schedule={"every": "month", "day": [31], "at": "10:00"})).tell(*known()).until(100 * DAY)
    assert walls(story) == ["2026-09-30 10:00", "2026-10-31 10:00", "2026-11-30 10:00"]


def test_a_spread_slot_gives_everybody_a_time_of_their_own_that_stays_the_same() -> None:
    names = [f"c{i}" for i in range(400)]
    spread = daily(schedule={"at": "2026-09-02 10:00", "spread": "60min"})
    sent = [Story(spread, pins=SPREAD).tell(*known(*order)).until(2 * DAY) for order in (names, names[::-1])]
    times = {send.customer: send.at - START - 23 * HOUR for send in sent[0].sends}
    assert times == {send.customer: send.at - START - 23 * HOUR for send in sent[1].sends}
    assert all(0 <= at < HOUR for at in times.values())
    quarters = [sum(at // (15 * MINUTE) == quarter for at in times.values()) for quarter in range(4)]
    assert all(70 < count < 130 for count in quarters)
    assert times["c0"] == 3_342_038  # golden: it must never change


def test_those_whom_a_spread_moves_past_midnight_are_too_late_unless_expires_says_otherwise() -> None:
    at = {"at": "2026-09-02 23:59", "spread": "10min"}
    names = [f"c{i}" for i in range(50)]
    for send, ends in ((FREE, {"sent", "expired"}), ({**FREE, "expires": "2h"}, {"sent"})):
        story = Story(daily(schedule=at, send=send), pins=SPREAD).tell(*known(*names)).until(3 * DAY)
        assert set(story.ends) == ends


def test_settle_delays_slots_too() -> None:
    story = Story(daily(), settle=2 * MINUTE).tell(*known()).until(DAY)
    assert walls(story) == ["2026-09-02 10:02"]


# Waves

WAVES: dict[str, Any] = {
    "responded": ["message.clicked"],
    "within": "1d",
    "list": [{"id": "w1", "at": "2026-09-02 10:00"}, {"id": "w2", "after": "2d"}],
}


def chain(*, take: tuple[int | None, ...] = (None, None, None), limits: Any = None, **keys: Any) -> Any:
    each: list[dict[str, Any]] = [
        {"id": "w1", "at": "2026-09-02 10:00"},
        {"id": "w2", "after": "2d"},
        {"id": "w3", "after": "2d"},
    ]
    for wave, many in zip(each, take, strict=False):
        if many is not None:
            wave["take"] = many
    waves = {"responded": ["message.clicked", "order.paid"], "within": "1d", "list": each, **keys}
    return rule("w", waves=waves, send=FREE, **({"limits": limits} if limits else {}))


def click(customer: str, at: int, **fields: Any) -> Any:
    return event("message.clicked", at, customer=customer, **fields)


def waves_of(story: Story) -> list[str]:
    return [f"{send.wave}{send.customer}" for send in story.sends]


SENT = 23 * HOUR  # when the first wave leaves


def test_a_wave_may_go_to_all_who_were_sent_the_one_before() -> None:
    story = Story(chain(take=(1,), responded=["message.sent"])).tell(*known("a", "b")).until(10 * DAY)
    (first, second, third) = waves_of(story)
    assert (first[:2], second, third) == ("w1", "w2" + first[2:], "w3" + first[2:])


def test_a_wave_goes_to_those_who_answered_the_one_before() -> None:
    story = Story(chain()).tell(*known("a", "b", "c"))
    story.tell(click("a", SENT + HOUR), event("order.paid", SENT + 2 * HOUR, customer="c")).until(3 * DAY)
    story.tell(click("a", SENT + 2 * DAY + HOUR)).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w1b", "w1c", "w2a", "w2c", "w3a"]


@pytest.mark.parametrize(
    ("answer", "goes"),
    [(SENT - 1, False), (SENT, True), (SENT + DAY, True), (SENT + DAY + 1, False)],
)
def test_an_answer_counts_from_the_message_until_its_time_is_over_both_inclusive(answer: int, goes: bool) -> None:  # noqa: FBT001  a parameter
    story = Story(chain()).tell(*known("a"))
    story.until(SENT + 1).tell(arriving(click("a", answer), SENT + DAY + HOUR)).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w2a"][: 1 + goes]


def test_an_answer_that_arrives_late_counts_until_the_next_wave_opens() -> None:
    for arrives, goes in ((SENT + 2 * DAY, True), (SENT + 2 * DAY + 1, False)):
        story = Story(chain()).tell(*known("a"), arriving(click("a", SENT + 1), arrives)).until(9 * DAY)
        assert ("w2a" in waves_of(story)) == goes


def test_an_answer_at_the_instant_of_the_next_slot_is_too_late() -> None:
    for at, goes in ((SENT + 2 * DAY - 1, True), (SENT + 2 * DAY, False)):
        story = Story(chain(within="3d")).tell(*known("a"), click("a", at)).until(9 * DAY)
        assert ("w2a" in waves_of(story)) == goes


def test_a_click_on_another_rules_message_is_no_answer() -> None:
    for named, goes in (("w", True), (None, True), ("other", False)):
        story = Story(chain()).tell(*known("a"), click("a", SENT + 1, rule_id=named)).until(9 * DAY)
        assert ("w2a" in waves_of(story)) == goes


def test_a_click_that_names_its_wave_answers_that_wave() -> None:
    two_days = chain(within="3d")
    story = Story(two_days).tell(*known("a"), click("a", SENT + HOUR, rule_id="w", wave="w1"))
    story.tell(click("a", SENT + 2 * DAY + HOUR, rule_id="w", wave="w1")).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w2a"]


@pytest.mark.parametrize("quiet", ["withheld", "shadow", "unsubscribed"])
def test_who_was_not_sent_a_wave_cannot_answer_it(quiet: str) -> None:
    keys: dict[str, Any] = {"status": "shadow"} if quiet == "shadow" else {}
    made = chain()
    if quiet == "withheld":
        pins = Pins(holdout=True, spread=False)
    else:
        pins = Pins(spread=False)
        made = rule("w", waves=WAVES, send=FREE, **keys)
    story = Story(made, pins=pins).tell(*known("a"))
    if quiet == "unsubscribed":
        story.tell(event("customer.unsubscribed", 1, customer="a"), event("customer.subscribed", DAY, customer="a"))
    assert not [w for w in waves_of(story.tell(click("a", SENT + 2 * HOUR)).until(9 * DAY)) if w != "w1a"]


def test_a_wave_is_taken_by_so_many_and_no_more() -> None:
    story = Story(chain(take=(2, 1))).tell(*known("d", "a", "c", "b"))
    story.tell(*(click(who, SENT + HOUR) for who in "abcd")).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w1b", "w2a"]
    assert sorted(story.ends) == ["sent"] * 3 + ["wave full"] * 3


@pytest.mark.parametrize(("answers", "goes"), [("a", False), ("ab", True), ("abc", True)])
def test_fewer_answers_than_min_size_stop_the_chain(answers: str, goes: bool) -> None:  # noqa: FBT001  a parameter
    story = Story(chain(min_size=2)).tell(*known("a", "b", "c"))
    story.tell(*(click(who, SENT + HOUR) for who in answers)).until(9 * DAY)
    assert [wave for wave in waves_of(story) if wave.startswith("w2")] == [f"w2{who}" for who in answers if goes]
    if not goes:
        assert story.ends[-1] == "wave too small"


def test_an_answer_given_twice_counts_once_for_min_size() -> None:
    story = Story(chain(min_size=2)).tell(*known("a", "b"), click("a", SENT + 1), click("a", SENT + 2)).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w1b"]


def test_answers_after_the_next_slot_do_not_count_for_min_size() -> None:
    waves = {**WAVES, "within": "3d", "min_size": 2}
    waves["list"] = [WAVES["list"][0], {"id": "w2", "after": "2d", "send": {"window": ["20:00-21:00"]}}]
    story = Story(rule("w", waves=waves, send=FREE)).tell(*known("a", "b"), click("a", SENT + 1))
    story.tell(click("b", SENT + 2 * DAY)).until(9 * DAY)
    assert waves_of(story) == ["w1a", "w1b"]


def test_a_waves_own_part_of_send_replaces_the_rules() -> None:
    waves = {**WAVES, "list": [{"id": "w1", "at": "2026-09-02 10:00", "send": {"text": "one"}}, WAVES["list"][1]]}
    story = Story(rule("w", waves=waves, send={**FREE, "text": "all"})).tell(*known("a"), click("a", SENT + 1))
    assert [(send.wave, send.text) for send in story.until(9 * DAY).sends] == [("w1", "one"), ("w2", "all")]


def test_waves_have_commands_of_their_own() -> None:
    story = Story(chain()).tell(*known("a"), click("a", SENT + 1)).until(9 * DAY)
    assert len({send.id for send in story.sends}) == 2


def test_those_who_answered_the_last_wave_are_a_segment_for_other_rules() -> None:
    reader = rule("z", when={"event": "favorite.added"}, wait="0min", send=FREE, audience={"in": "fans"})
    story = Story(chain(keep_as="fans"), reader).tell(*known("a", "b"), click("a", SENT + HOUR))
    story.tell(*(event("favorite.added", SENT + 2 * HOUR, customer=who) for who in "ab")).until(SENT + 3 * HOUR)
    assert [send.customer for send in story.sends if send.rule == "z"] == ["a"]


def test_a_segment_that_was_given_is_what_was_given() -> None:
    reader = rule("z", when={"event": "favorite.added"}, wait="0min", send=FREE, audience={"in": "vips"})
    story = Story(reader, segments={"vips": frozenset({"a"})})
    story.tell(*(event("favorite.added", 0, customer=who) for who in "ab")).until(DAY)
    assert [send.customer for send in story.sends] == ["a"]
