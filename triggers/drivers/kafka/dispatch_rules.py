"""The rules that a dispatcher goes by: those that the workers have in use, and those of its folder until they have some."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from triggers.core.times import month_text
from triggers.dispatch.terms import rules_of
from triggers.drivers.kafka.fleet_rules import FleetRules
from triggers.drivers.rules import first_edition, rulebook
from triggers.errors import ServiceUnusable
from triggers.store.progress import Register

if TYPE_CHECKING:
    from triggers.dispatch.claiming import Rules
    from triggers.drivers.editions import Edition
    from triggers.drivers.kafka.dispatch_settings import DispatchSettings

_log = structlog.get_logger("rules")


class RulesInUse:
    """Knows the rules at hand. Make it (raises RulesUnusable), ``follow`` once, then ``run``."""

    def __init__(self, settings: DispatchSettings) -> None:
        self._settings = settings
        self._fleet = FleetRules(settings)
        self._use(first_edition(settings.rules, {}))

    def __call__(self) -> Rules:
        """Give what a claim asks of the rules."""
        return self._rules

    @property
    def revision(self) -> str:
        """What names the set."""
        return self._edition.revision

    @property
    def count(self) -> int:
        """How many rules there are."""
        return len(self._rules.rules)

    def month(self, at: int) -> str:
        """Name the shop's month of an instant, epoch ms."""
        return month_text(self._rules.shop.zone.wall(at))

    async def follow(self) -> None:
        """Take up what the workers have in use. Raises ServiceUnusable."""
        edition = await self._fleet.in_use(self._edition)
        if edition is not None:
            self._use(edition)
            _log.info("rules changed", revision=edition.revision, rules=self.count)

    async def run(self) -> None:
        """Follow the workers again and again, until cancelled; never where ``reload_s`` is 0.

        While Kafka is away the rules stay as they are.
        """
        while self._settings.reload_s:
            await asyncio.sleep(self._settings.reload_s)
            following = asyncio.create_task(self.follow())
            try:
                await asyncio.wait({following})
            finally:
                following.cancel()
            if following.cancelled() or isinstance(following.exception(), ServiceUnusable):
                error = "cancelled" if following.cancelled() else str(following.exception())
                _log.warning("what rules the workers have in use cannot be told now", error=error)
            else:
                following.result()

    def _use(self, edition: Edition) -> None:
        loaded = edition.loaded
        register = Register(dict.fromkeys((rule.id for rule in loaded.rules), 0), {})
        self._rules = rules_of(rulebook(loaded, register, settle=self._settings.settle_ms, recalls=False))
        self._edition = edition
