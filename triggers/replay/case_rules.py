"""The rule files of one test as it changes them: edited, paused, taken away and put back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from triggers.core.rulebook import Pins, Rulebook
from triggers.language.folder import build_rule, build_shop, overlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triggers.core.rules import Rule, Shop
    from triggers.core.times import Duration
    from triggers.language.cases_model import Case
    from triggers.language.folder import Loaded, RuleFile
    from triggers.language.shop import SharedShop


class Unplayable(ValueError):  # noqa: N818  the name reads as the sentence
    """A test whose rules cannot be made; ``key`` is the key of the test that is to blame."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class CaseFile:
    """What the tests of one file have in common, made once: the rules as they are once live, and sets of them."""

    def __init__(self, file: RuleFile, loaded: Loaded) -> None:
        assert loaded.shop is not None  # noqa: S101  without a shop no file counts as loaded
        self.file = file
        self.shop = loaded.shop
        self.revision = loaded.revision
        self.files = loaded.files
        self._rules = {rule.id: rule for rule in loaded.rules}
        self._live: dict[str, Rule] = {}
        self._books: dict[tuple[object, ...], Rulebook] = {}

    def live(self, name: str) -> Rule:
        """Give a loaded rule as it is once live."""
        found = self._live.get(name)
        if found is None:
            found = self._live[name] = replace(self._rules[name], status="live", since=0)
        return found

    def rulebook(self, rules: Iterable[Rule], pins: Pins, *, narrates: bool) -> Rulebook:
        """Give a set of rules under the folder's own shop. Everything is kept, since an edit may ask for it."""
        key = (*rules, pins, narrates)
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Rulebook(
                rules, self.shop, revision=self.revision, pins=pins, keep_all=True, narrates=narrates
            )
        return book


class CaseRules:
    """The tested rule and those that compete, with the shop as the test wants it.

    A test tells what its rule does once it is live, whatever the status in the file: a rule can be paused or still be a
    draft without failing its tests. Making one raises Unplayable.
    """

    def __init__(self, of: CaseFile, case: Case) -> None:
        self.id = of.file.id
        self.shop: Shop = _shop(of.shop, case)
        self._of = of
        self._data: Mapping[str, Any] = of.file.data
        self._rules = {name: _rule(of, name, case, self.shop) for name in (self.id, *case.with_rules)}
        self._gone: dict[str, tuple[Rule, int]] = {}
        self._segments = {name: frozenset(members) for name, members in case.segments.items()}
        self._pins = Pins(holdout=case.pin.holdout or False, variant=case.pin.variant, spread=False)

    @property
    def rule(self) -> Rule:
        """The tested rule as it is now, or was when it was taken away."""
        return self._gone[self.id][0] if self.id in self._gone else self._rules[self.id]

    def waits(self) -> list[Duration]:
        """List how long the rules wait."""
        return [rule.wait for rule in self._rules.values()]

    def slotted(self) -> bool:
        """Tell whether a rule goes by slots."""
        return any(rule.schedule is not None or rule.waves is not None for rule in self._rules.values())

    def edit(self, changes: Mapping[str, Any], at: int) -> None:
        """Change keys of the file at an instant (epoch ms). Raises ValueError with the findings."""
        data = overlay(self._data, changes)
        status = str(changes.get("status", self.rule.status))
        edited = replace(build_rule(data, self.shop, since=at), status=status)
        self._data = data
        self._put(edited)

    def set_status(self, status: str, at: int) -> None:
        """Make the rule live, paused, shadow or draft."""
        self._put(replace(self.rule, status=status, since=at))

    def remove(self, at: int) -> None:
        """Take the file away: it counts as missing at once (S36)."""
        self._gone.setdefault(self.id, (self.rule, at))
        self._rules.pop(self.id, None)

    def restore(self, at: int) -> None:
        """Put the file back."""
        if self.id in self._gone:
            self._rules[self.id] = replace(self._gone.pop(self.id)[0], since=at)

    def rulebook(self, *, narrates: bool) -> Rulebook:
        """Make the set of rules in force, telling all that happens or only ends and sends.

        Every event is kept, since an edit may ask for it.
        """
        if self.shop is self._of.shop and not self._gone and not self._segments:
            return self._of.rulebook(self._rules.values(), self._pins, narrates=narrates)
        return Rulebook(
            self._rules.values(),
            self.shop,
            revision=self._of.revision,
            removed={name: at for name, (_, at) in self._gone.items()},
            segments=self._segments,
            pins=self._pins,
            keep_all=True,
            narrates=narrates,
        )

    def _put(self, rule: Rule) -> None:
        if self.id in self._gone:
            self._gone[self.id] = (rule, self._gone[self.id][1])
        else:
            self._rules[self.id] = rule


def _shop(shop: SharedShop, case: Case) -> SharedShop:
    if not case.shop:
        return shop
    try:
        return build_shop(overlay(shop.data, case.shop))
    except ValueError as error:
        raise Unplayable("shop", str(error)) from error


def _rule(of: CaseFile, name: str, case: Case, shop: Shop) -> Rule:
    if name not in of.files:
        raise Unplayable("with_rules", f"rule '{name}' has errors, so this test cannot run")
    if not case.shop:
        return of.live(name)
    try:
        return replace(build_rule(of.files[name].data, shop), status="live")
    except ValueError as error:
        raise Unplayable("shop", f"with this shop the rule '{name}' does not load: {error}") from error
