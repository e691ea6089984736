"""However a rule file is damaged, loading it ends in findings at places that exist, never in an exception."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.language import load

RULES = Path(__file__).parents[2] / "rules"
SHOP = (RULES / "_shop.yaml").read_text(encoding="utf-8")
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yaml"))}
ODD = [
    *("null", "!x", "&a ", "*a", "{", "}", "[", "]", '"', "'", ":", ": ", "- ", "\n", "\t", "#", "|", ">", "~", "%"),
    *("1", "1.5", "true", "[]", "{}", "中", "-1", "\\", "{{", "{x}", "  ", "\x00", "\u2028", "[1, {a: b}]", "{a: 1}"),
    *("10:00", "1 / 1d", "3d", "9" * 30, "order.paid", "event.amount > 1"),
]

Change = tuple[int, int, str]
changes = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10_000), st.sampled_from(ODD)),
    min_size=1,
    max_size=5,
)


def damaged(text: str, change: Change) -> str:
    kind, where, odd = change
    lines = text.split("\n")
    place, line = where % (len(text) + 1), where % len(lines)
    if kind == 0:
        return text[:place] + odd + text[place:]
    if kind == 1:
        return text[:place] + text[place + len(odd) :]
    if kind == 2:
        del lines[line]
    elif ": " in lines[line]:
        lines[line] = lines[line].partition(": ")[0] + ": " + odd
    return "\n".join(lines)


@settings(deadline=None)
@given(st.sampled_from(sorted(TEXTS)), changes)
def test_a_damaged_file_gives_findings_and_no_exception(name: str, steps: list[Change]) -> None:
    text = TEXTS[name]
    for step in steps:
        text = damaged(text, step)
    with TemporaryDirectory() as folder:
        (Path(folder) / "_shop.yaml").write_text(SHOP, encoding="utf-8")
        (Path(folder) / name).write_text(text, encoding="utf-8", newline="")
        loaded = load(Path(folder), today=20_700)
    lines = text.split("\n")
    for finding in loaded.findings:
        assert 1 <= finding.line <= len(lines) + 1
        assert finding.column >= 1
        assert finding.message
    assert loaded.shop is not None or name == "_shop.yaml"
