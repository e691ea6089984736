"""Writes the JSON Schemas that serve editors, generated from the models of rule files and of ``_shop.yaml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from triggers.language.model import RuleModel
from triggers.language.shop_model import ShopModel

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import core_schema

SCHEMAS: dict[str, type[BaseModel]] = {"rule.v1.json": RuleModel, "shop.v1.json": ShopModel}
"""The models by the name of their schema's file, beside this module."""

_KINDS = ("when", "schedule", "waves")


class _Schema(GenerateJsonSchema):
    """A key that may be left out may not be null, and its default needs no telling."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def schema(name: str = "rule.v1.json") -> str:
    """Generate a schema as the text of its file. Raises KeyError for an unknown name."""
    model = SCHEMAS[name]
    content = model.model_json_schema(by_alias=True, schema_generator=_Schema)
    if model is RuleModel:
        content["oneOf"] = [{"required": [kind]} for kind in _KINDS]
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **_without_titles(content)}
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def path(name: str = "rule.v1.json") -> Path:
    """Tell where a schema is kept."""
    return Path(__file__).with_name(name)


def write() -> None:
    """Bring the kept schemas up to date."""
    for name in SCHEMAS:
        path(name).write_text(schema(name), encoding="utf-8")


def _without_titles(content: Any) -> Any:
    """Leave out the titles that pydantic makes of names: they say nothing that the key does not."""
    if isinstance(content, list):
        return [_without_titles(each) for each in content]
    if not isinstance(content, dict):
        return content
    return {
        key: _without_titles(value) for key, value in content.items() if key != "title" or not isinstance(value, str)
    }
