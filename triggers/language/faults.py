"""Words the errors of the models, and puts them at the places of their values."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from triggers.language.findings import Misfit, did_you_mean, joined, nearest

if TYPE_CHECKING:
    from triggers.language.reading import Reading
    from triggers.language.tree import Path

_FEW = 12
"""More known keys than these are not listed."""

_KIND_WORDS = {
    "string_type": "write text here; a number, true or false needs quotes",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "bool_type": "write true or false",
    "list_type": "write a list",
    "dict_type": "write keys and values here",
    "too_long": "{max_length} at most",
    "too_short": "{min_length} at least",
    "string_too_short": "may not be empty",
    "string_too_long": "{max_length} characters at most",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def report(reading: Reading, model: type[BaseModel], fault: Any) -> None:
    """Add an error of pydantic to the findings; an unknown key's fault is told what was ``meant``."""
    path: Path = fault["loc"]
    kind: str = fault["type"]
    context = fault.get("ctx", {})
    if kind == "extra_forbidden":
        reading.key_error(path, _unknown_key(model, path))
        fault["meant"] = nearest(str(path[-1]), keys_at(model, path[:-1]))
    elif kind == "missing":
        reading.error(path[:-1], f"'{path[-1]}' is missing" + (f" in '{_name(path[:-1])}'" if len(path) > 1 else ""))
    elif isinstance(context.get("error"), Misfit):
        reading.misfit(path, context["error"])
    elif path and path[-1] == "[key]":
        known = [word.strip("'") for word in str(context.get("expected", "")).replace(" or ", ", ").split(", ")]
        reading.key_error(path[:-1], f"unknown key '{path[-2]}'{did_you_mean(str(path[-2]), known)}")
    elif kind == "literal_error":
        reading.error(path, _not_one_of(reading, path, context["expected"]))
    elif kind in ("model_type", "model_attributes_type"):
        keys = keys_at(model, path)
        reading.error(path, f"write keys and values here: {', '.join(keys)}")
    else:
        message = _KIND_WORDS.get(kind) or str(fault["msg"]).replace("Input should be", "must be")
        if kind in _KIND_WORDS:
            message = message.format(**context)
        reading.error(path, message[:1].lower() + message[1:])


def _not_one_of(reading: Reading, path: Path, expected: str) -> str:
    known = [word.strip("'").replace("True", "true") for word in expected.replace(" or ", ", ").split(", ")]
    found = reading.document.node(path).plain() if reading.document else ""
    if isinstance(found, (dict, list)):
        return f"write {joined(known)}"
    shown = str(found).lower() if isinstance(found, bool) or found is None else str(found)
    if len(known) == 1:
        return f"'{shown}' is not '{known[0]}'"
    return f"'{shown}' is not one of {', '.join(known)}{did_you_mean(shown, known)}"


def _unknown_key(model: type[BaseModel], path: Path) -> str:
    key = str(path[-1])
    here = keys_at(model, path[:-1])
    above = keys_at(model, ())
    guess = did_you_mean(key, here)
    if not guess and len(path) > 1 and key in above:
        return f"unknown key '{key}' in '{_name(path[:-1])}'; it stands at the top level, beside '{path[0]}'"
    known = f"; known here: {', '.join(here)}" if len(here) <= _FEW else ""
    return f"unknown key '{key}'" + (guess or known)


def _name(path: Path) -> str:
    return next((str(key) for key in reversed(path) if isinstance(key, str)), "this")


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """List the keys that a model knows at a path."""
    annotation: Any = model
    for key in path:
        if isinstance(key, int):
            continue
        found = _model_in(annotation)
        if found is not None and (below := _field(found, key)) is not None:
            annotation = below
        elif typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[1]
    found = _model_in(annotation)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _field(model: type[BaseModel], key: str) -> Any:
    return next((field.annotation for name, field in model.model_fields.items() if (field.alias or name) == key), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is dict:
        return None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
