"""The schemas for editors are what the models say, and agree with them on real rules."""

from __future__ import annotations

import json

import pytest

from triggers.language import schema


@pytest.mark.parametrize("name", sorted(schema.SCHEMAS))
def test_a_kept_schema_is_current(name: str) -> None:
    kept = schema.path(name).read_text(encoding="utf-8")
    assert kept == schema.schema(name), "run: python -c 'from triggers.language import schema; schema.write()'"


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    rule = json.loads(schema.schema())
    assert {"rule", "id", "title", "status", "class", "when", "send", "tests"} <= set(rule["properties"])
    assert rule["additionalProperties"] is False
    assert rule["required"] == ["rule", "id", "title", "status", "class", "send"]
    assert rule["properties"]["class"]["enum"] == ["marketing", "member", "greeting", "notice"]
    assert rule["oneOf"] == [{"required": ["when"]}, {"required": ["schedule"]}, {"required": ["waves"]}]


def test_no_key_may_be_null() -> None:
    assert '"null"' not in schema.schema()
    assert '"null"' not in schema.schema("shop.v1.json")


def test_an_unknown_schema_is_an_error() -> None:
    with pytest.raises(KeyError):
        schema.schema("rule.v2.json")
