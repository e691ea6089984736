"""Every mistake in a rule file is found at its place, with the mend, and all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.language.findings import Finding

if TYPE_CHECKING:
    from conftest import Folder

WHEN = "when: {event: order.created, per: order_id}\nwait: 1d\n"
SEND = "send: {text: Hello}\n"


def test_a_plain_rule_has_no_finding(folder: Folder) -> None:
    assert folder.rule(WHEN + SEND).findings() == []


def test_many_mistakes_of_one_file_are_all_shown(folder: Folder) -> None:
    folder.shop(
        "shop: v1\nname: Test\ntimezone: Asia/Shanghai\n"
        "periods: {double11: {from: 2026-10-31 20:00, until: 2026-11-12 00:00}, "
        "double12: {from: 2026-12-08, until: 2026-12-13}}\n"
    )
    folder.file(
        "z-rule.yaml",
        "rule: v1\n"
        "id: z-rules\n"
        "title: Z\n"
        "status: draft\n"
        "class: marketing\n"
        "when:\n"
        "  event: order.created\n"
        "  where: event.amuont >= 500\n"
        "  per: order_id\n"
        "wiat: 1d\n"
        "unless:\n"
        "  - event: order.payed\n"
        "  - event: [favorite.added]\n"
        "audience:\n"
        "  all:\n"
        "    - where: >-\n"
        "        customer.orders_paid > 1\n"
        "        and customer.nmae == 'x'\n"
        "    - did: order.paid\n"
        "      within: 500d\n"
        "send:\n"
        '  text: "Hi {customer.nmae}, {customer.name} {link}"\n'
        "  expires: 3m\n"
        "during: duoble11\n",
    )
    assert [each.removeprefix("z-rule.yaml:") for each in folder.findings()] == [
        "2:5: error: id 'z-rules' and file name 'z-rule.yaml' differ; the id is what timers belong to",
        "8:16: error: OrderCreated has no field 'amuont'; did you mean 'amount'?",
        "10:1: error: unknown key 'wiat'; did you mean 'wait'?",
        "12:12: error: unknown event 'order.payed'; did you mean 'order.paid'?",
        (
            "13:13: error: favorite.added has no 'order_id', so it cannot be matched to the waiting one; "
            "write 'match: customer'"
        ),
        "18:22: error: customer has no field 'nmae'; did you mean 'name'?",
        "20:15: error: longer than the kept history (400d)",
        "22:13: error: unknown placeholder {customer.nmae}; did you mean {customer.name}?",
        "22:30: error: customer.name may be empty; give a default: {customer.name|dear customer}",
        "22:46: error: {link} without 'link:'; say where it leads: link: store",
        "23:12: error: '3m': is 'm' minutes or months? write 'min' or 'month'",
        "24:9: error: unknown period 'duoble11'; known: double11, double12",
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # what starts it
        (SEND, ["1:1: error: say when it starts: 'when', 'schedule' or 'waves'"]),
        (
            WHEN + "schedule: {at: 2026-09-01 10:00}\n" + SEND,
            ["8:1: error: 'when' and 'schedule' side by side; a rule has one of when, schedule and waves"],
        ),
        (
            "when: {event: order.paid}\n" + SEND,
            ["6:1: error: 'wait' is missing beside 'when'; to send at once write 'wait: 0min'"],
        ),
        ("wait: 1d\nschedule: {at: 2026-09-01 10:00}\n" + SEND, ["6:1: error: 'wait' belongs beside 'when'"]),
        (
            "when: {event: order.created, wait: 1d}\n" + SEND,
            [
                "6:1: error: 'wait' is missing beside 'when'; to send at once write 'wait: 0min'",
                "6:30: error: unknown key 'wait' in 'when'; it stands at the top level, beside 'when'",
            ],
        ),
        (
            "when: {event: order.created, per: odrer_id}\nwait: 1d\n" + SEND,
            ["6:35: error: OrderCreated has no field 'odrer_id' to wait for; did you mean 'order_id'?"],
        ),
        (
            "when: {event: order.created, per: amount}\nwait: 1d\n" + SEND,
            [("6:35: error: OrderCreated has no field 'amount' to wait for; known: customer, id, order_id, category")],
        ),
        (
            "when: {event: order.created, again: eahc}\nwait: 1d\n" + SEND,
            ["6:37: error: 'eahc' is not one of ignore, restart, each; did you mean 'each'?"],
        ),
        (
            "when: order.created\nwait: 1d\n" + SEND,
            ["6:7: error: write keys and values here: event, where, per, again"],
        ),
        # values of the wrong kind
        (WHEN + SEND + "priority: 101\n", ["9:11: error: must be 100 or less"]),
        (WHEN + SEND + "priority: high\n", ["9:11: error: write a whole number"]),
        (WHEN + SEND + "owner: 12\n", ["9:8: error: write text here; a number, true or false needs quotes"]),
        (WHEN + SEND + "owner:\n", ["9:1: error: 'owner' has no value; write one or take the key out"]),
        (
            WHEN + SEND + "during: [a, ]\nnot_during: []\n",
            ["9:10: error: unknown period 'a'; _shop.yaml has no periods"],
        ),
        (WHEN + SEND + "recency: 3\n", ["9:10: error: '3': of what? write '3min', '3h' or '3d'"]),
        (WHEN + SEND + "recency: 401d\n", ["9:10: error: longer than the kept history (400d)"]),
        (WHEN + SEND + "valid: {from: 2026-09-02, until: 2026-09-01}\n", ["9:34: error: 'until' is not after 'from'"]),
        (WHEN + SEND + "wait: 2d\n", ["9:1: error: duplicate key 'wait' (first on line 7)"]),
        # audience
        (
            WHEN + SEND + "audience: {did: order.paid}\n",
            ["9:12: error: 'did' needs 'within': how far back to look, such as 365d"],
        ),
        (WHEN + SEND + "audience: {within: 3d}\n", ["9:11: error: say what: where, did, in, all, any or not"]),
        (
            WHEN + SEND + "audience: {where: customer.is_member, within: 3d}\n",
            ["9:39: error: 'within' belongs beside 'did'"],
        ),
        (
            WHEN + SEND + "audience: {in: a, where: customer.is_member}\n",
            ["9:19: error: 'in' and 'where' side by side; list them under 'all:' or 'any:'"],
        ),
        (
            WHEN
            + SEND
            + "audience: {did: order.paid, within: 3d, without: {event: favorite.added, match: order_id}}\n",
            ["9:81: error: favorite.added has no field 'order_id'"],
        ),
        (WHEN + SEND + "audience: {did: order.paid, within: 3d, at_least: 0}\n", ["9:51: error: must be 1 or more"]),
        (WHEN + SEND + "audience: {all: []}\n", ["9:17: error: 1 at least"]),
        (WHEN + SEND + 'audience: {where: "event.amount >= 1 and x"}\n', ["9:42: error: unknown name 'x'"]),
        (
            "schedule: {at: 2026-09-01 10:00}\naudience: {where: event.amount > 1}\n" + SEND,
            ["7:19: error: there is no 'event'"],
        ),
        # limits and the rest
        (
            WHEN + SEND + "limits: {per_customer: twice}\n",
            ["9:24: error: write how many in how long: '1 / 7d', not 'twice', or 'once'"],
        ),
        (
            WHEN + SEND + "limits: {per_customer: 1 / 3m}\n",
            ["9:24: error: '3m': is 'm' minutes or months? write 'min' or 'month'"],
        ),
        (WHEN + SEND + "limits: {total: 0}\n", ["9:17: error: must be 1 or more"]),
        (
            WHEN + SEND + "stop_if: [{after_sends: 5}]\n",
            ["9:11: error: write 'delivered_below' or 'unsubscribed_above'"],
        ),
        (
            WHEN + SEND + "stop_if: [{delivered_below: 90, after_sends: 5}]\n",
            ["9:29: error: write a percentage: '90%'"],
        ),
        (WHEN + SEND + "renamed_from: r\n", ["9:15: error: this is the id that the rule has"]),
    ],
)
def test_a_mistake_in_a_rule(folder: Folder, body: str, expected: list[str]) -> None:
    said = folder.rule(body).said()
    assert len(said) == len(expected)
    assert [line[: len(wanted)] for line, wanted in zip(said, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{at: 2026-09-01}", "6:16: error: '2026-09-01': at what time of that day? write 2026-09-01 10:00"),
        ("{at: 10:00}", "6:16: error: '10:00' is not a date"),
        ("{}", "6:11: error: say when: at, every, holiday or cron"),
        ("{every: week, at: 10:00}", "6:11: error: 'day' is missing beside 'every: week'"),
        ("{every: week, day: thursday, at: 10:00}", "6:30: error: unknown day 'thursday'"),
        ("{every: month, day: 32, at: 10:00}", "6:31: error: '32': write a day of the month, 1 to 31"),
        ("{every: day, day: 1, at: 10:00}", "6:29: error: 'day' does not belong beside 'every: day'"),
        ("{every: day}", "6:11: error: 'at' is missing in 'schedule'"),
        ("{every: day, at: 24:00}", "6:28: error: '24:00': the day ends there; write 00:00 of the next one"),
        ("{every: day, cron: 0 0 * * *, at: 10:00}", "6:24: error: 'every' and 'cron' side by side"),
        ("{every: day, at: 10:00, offset: -1d}", "6:35: error: 'offset' does not belong beside 'every'"),
        ("{cron: 0 0 * *}", "6:18: error: '0 0 * *': a cron line has five fields"),
        ("{at: 2026-09-01 10:00, spread: 2d}", "6:42: error: longer than a day"),
        ("{at: 2026-09-01 10:00, spread: 1 month}", "6:42: error: '1 month': not in months or years here"),
        ("{holiday: x, offset: 12h, at: 10:00}", "6:32: error: '12h': write whole days, such as '-1d'"),
    ],
)
def test_a_mistake_in_a_schedule(folder: Folder, schedule: str, expected: str) -> None:
    said = folder.rule(f"schedule: {schedule}\n{SEND}").said()
    assert [line for line in said if line.startswith(expected)], said
    assert len([line for line in said if "error" in line]) == 1


@pytest.mark.parametrize(
    ("waves", "expected"),
    [
        ("[{id: a, after: 3d}]", "9:18: error: the first wave has none before it; write 'at'"),
        ("[{id: a}]", "9:10: error: write 'at' or 'after'"),
        ("[{id: a, at: 2026-09-01 10:00}, {id: a, after: 1d}]", "9:46: error: 'a' is there twice"),
        (
            "[{id: a, at: 2026-09-02 10:00}, {id: b, at: 2026-09-01 10:00}]",
            "9:53: error: not after the wave before",
        ),
        ("[{id: a, at: 2026-09-01 10:00, take: 0}]", "9:46: error: must be 1 or more"),
        ("[{id: a, at: 2026-09-01 10:00, send: {link: shop}}]", "9:53: error: unknown link 'shop'"),
        ("[{id: A b, at: 2026-09-01 10:00}]", "9:15: error: 'A b': write small letters"),
        ("[]", "9:9: error: 1 at least"),
    ],
)
def test_a_mistake_in_the_waves(folder: Folder, waves: str, expected: str) -> None:
    said = folder.rule(f"waves:\n  responded: message.clicked\n  within: 48h\n  list: {waves}\n{SEND}").said()
    assert [line[: len(expected)] for line in said] == [expected]


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        ("{}", "8:7: error: 'text' is missing in 'send'; or write 'variants'"),
        ("{text: a, channel: email}", "8:26: error: 'email' is not 'sms'"),
        ("{text: a, window: 22:00-02:00}", "8:25: error: '22:00-02:00': a window may not cross midnight"),
        ("{text: a, window: [10:00-12:00, 11:00-13:00]}", "8:39: error: this window overlaps another one"),
        ("{text: a, days: [mon, funday]}", "8:29: error: unknown day 'funday'"),
        ("{text: a, holdout: 10}", "8:26: error: write a percentage: '10%'"),
        ("{text: a, coupon: {batch: B, amount: 0}}", "8:44: error: a coupon of nothing"),
        ("{text: a, coupon: {batch: 12, amount: 5}}", "8:33: error: write text here"),
        ("{text: a, coupon: {batch: B}}", "8:25: error: 'amount' is missing in 'coupon'"),
        ("{text: a, link: coupon}", "8:23: error: 'link: coupon' without 'coupon:'"),
        ("{text: a, link: http://x.example}", "8:23: error: unknown link 'http://x.example'"),
        ("{text: a, link: 'https://localhost'}", "8:23: error: 'https://localhost' is not an address"),
        ("{text: a, link: stroe}", "8:23: error: unknown link 'stroe'"),
        ("{text: a, variants: [{id: v, text: b}]}", "8:17: error: 'text' and 'variants' side by side"),
        ("{variants: [{id: v, text: b}, {id: v, text: c}]}", "8:42: error: 'v' is there twice"),
        (
            "{variants: [{id: v, share: 50%, text: b}, {id: w, share: 40%, text: c}]}",
            "8:34: error: the shares make 90% together; they must make 100%",
        ),
        ("{variants: [{id: v, share: 50%, text: b}, {id: w, text: c}]}", "8:49: error: 'share' is missing"),
        ("{text: '{coupon.amount}'}", "8:15: error: {coupon.amount} without 'coupon:'"),
        ("{text: 'a {{b}} {'}", "8:23: error: a single '{'; write '{{' for the character"),
        ("{text: '{event.category}'}", "8:15: error: event.category may be empty; give a default"),
        ("{text: '{event.items}'}", "8:15: error: unknown placeholder {event.items}"),
        ("{text: {link}}", "8:14: error: write text here"),
    ],
)
def test_a_mistake_in_what_is_sent(folder: Folder, send: str, expected: str) -> None:
    said = folder.rule(f"{WHEN}send: {send}\n").said()
    assert [line[: len(expected)] for line in said if "no value" not in line] == [expected]


def test_a_scheduled_rule_has_no_event_for_its_text(folder: Folder) -> None:
    said = folder.rule("schedule: {every: day, at: 10:00}\nsend: {text: '{event.amount}'}\n").said()
    assert said == ["7:15: error: {event.amount}: there is no event; only a rule with 'when' has one"]


def test_what_was_wrong_is_not_called_missing_as_well(folder: Folder) -> None:
    folder.rule("when: {event: order.paid}\nwait: 3m\nsend:\n  txet: Hello\n")
    assert folder.said() == [
        "7:7: error: '3m': is 'm' minutes or months? write 'min' or 'month'",
        "9:3: error: unknown key 'txet'; did you mean 'text'?",
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            (
                "when: {event: order.payed}\nwait: 1d\naudience: {where: event.amount > 1}\n"
                "send: {text: 'a {event.amount}', link: order}\n"
            ),
            "6:15: error: unknown event 'order.payed'",
        ),
        (
            WHEN + "send: {text: '{coupon.amount} {link}', coupon: {batch: 1, amount: 2}, link: coupon}\n",
            "8:56: error: write text here",
        ),
        (WHEN + "send: {text: '{link}', link: [store]}\n", "8:30: error: write text here"),
        (WHEN + SEND + "audience: {did: order.payed, within: 3d, where: event.amount > 1}\n", "9:17: error: unknown"),
        (WHEN + SEND + "audience: {all: [{where: 5}]}\n", "9:26: error: write text here"),
        ("schedule: {every: weekly, at: 10:00}\n" + SEND, "6:19: error: 'weekly' is not one of day, week, month"),
        ("schedule: {every: [day], at: 10:00}\n" + SEND, "6:19: error: write day, week or month"),
        (
            WHEN + "send: {variants: [{id: a, share: 50, text: b}, {id: c, share: 50%, text: d}]}\n",
            "8:34: error: write a percentage: '50%'",
        ),
    ],
)
def test_one_mistake_makes_one_finding(folder: Folder, body: str, expected: str) -> None:
    assert [line[: len(expected)] for line in folder.rule(body).said()] == [expected]


def test_missing_keys_are_named(folder: Folder) -> None:
    folder.file("r.yaml", "rule: v1\nwhen: {where: event.amount > 1}\n")
    assert folder.said() == [
        "1:1: error: 'class' is missing",
        "1:1: error: 'id' is missing",
        "1:1: error: 'send' is missing",
        "1:1: error: 'status' is missing",
        "1:1: error: 'title' is missing",
        "2:7: error: 'event' is missing in 'when'",
    ]


def test_findings_of_one_file_have_an_end(folder: Folder) -> None:
    folder.rule(WHEN + SEND + "".join(f"key{n}x: 1\n" for n in range(150)))
    said = folder.said()
    assert len(said) == 101
    assert said[-1].endswith("and 50 more findings in this file")


class TestTexts:
    """Length, banned words and promotions."""

    shop = (
        "shop: v1\nname: Test\ntimezone: UTC\nsignature: '[Test] '\nopt_out: ' Reply R to stop'\n"
        "copy: {counting: gsm, max_segments: 1, banned: [最低价, cheapest], promo_words: [off, 优惠]}\n"
    )

    def test_a_text_that_costs_two_parts_is_a_warning(self, folder: Folder) -> None:
        folder.shop(self.shop)
        text = "有" * 50 + "{link}"
        folder.rule(f"{WHEN}send:\n  link: store\n  text: {text}\n")
        # 7 of signature, 50, a link of 18, 16 of opt-out
        assert folder.said() == [
            "10:9: warning: about 91 characters with signature and opt-out: 2 messages are charged instead of 1"
        ]

    def test_a_notice_has_no_opt_out_to_count(self, folder: Folder) -> None:
        folder.shop(self.shop)
        folder.rule(f"{WHEN}send: {{text: {'a' * 150}}}\n", klass="notice")
        assert folder.said() == []
        folder.rule(f"{WHEN}send: {{text: {'a' * 152}}}\n", klass="notice")
        assert folder.said() == [
            "8:14: warning: about 161 characters with signature: 2 messages are charged instead of 1"
        ]

    def test_a_banned_word_is_an_error_at_its_place(self, folder: Folder) -> None:
        folder.shop(self.shop)
        folder.rule(f'{WHEN}send:\n  text: "全场最低价"\n')
        assert folder.said() == ["9:12: error: '最低价' is a banned word"]

    @pytest.mark.parametrize(("text", "found"), [("20 Off today", True), ("of an office", False), ("有优惠", True)])
    def test_a_greeting_does_not_promote(self, folder: Folder, text: str, *, found: bool) -> None:
        folder.shop(self.shop)
        said = folder.rule(f"{WHEN}send: {{text: {text}}}\n", klass="greeting").said()
        assert bool(said) is found
        assert all("promotions are of class marketing" in line for line in said)
        assert folder.rule(f"{WHEN}send: {{text: {text}}}\n").said() == []


def test_a_file_full_of_aliases_is_refused_without_comparing_each_with_each(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def equal(one: Finding, other: object) -> bool:
        nonlocal compared
        compared += 1
        return one is other

    monkeypatch.setattr(Finding, "__eq__", equal)
    folder.file("r.yaml", f"a: &a [x]\nb: [{', '.join(['*a'] * 10_000)}]\n")
    assert folder.said()[-1].endswith("more findings in this file")
    assert compared < 1_000


def test_a_message_with_a_huge_value_is_one_line_that_shows_both_ends(folder: Folder) -> None:
    folder.rule(WHEN.replace("1d", '"' + "9" * 5_000 + '\\n\\ed"') + SEND)
    (said,) = folder.said()
    assert said.startswith("7:7: error: '9999")
    assert said.endswith(" is not a duration; write 30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h")
    assert len(said) < 700
    assert said.isprintable()
