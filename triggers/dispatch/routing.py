"""Chooses the gateway for a message: the first of its route that may carry it, and for a few one that is on trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from triggers.core.chance import fraction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PROBES: Final = 0.03
"""The share of messages that each demoted gateway carries, to see whether it is better again (SMS.md: 2 to 5 %)."""


def choose(
    route: Sequence[str],
    command: str,
    *,
    permits: Mapping[str, int],
    demoted: Collection[str],
    avoid: Collection[str],
    must_differ: str | None = None,
) -> str | None:
    """Choose a gateway of a route for a command id; None: there is none at the moment.

    ``permits`` has the gateways that work, and how many messages each may be given now: one with 0 is worth waiting for,
    one that is missing is not (its breaker is open). ``avoid`` has those that could not take this message before: they
    are asked again where there is no other. ``must_differ`` is the one that may have sent it already: never again, unless
    the route has no other. A demoted one carries its probes, and the rest only where nothing better works.
    """
    names = [name for name in dict.fromkeys(route) if name != must_differ] or list(route[:1])
    free = [name for name in names if permits.get(name, 0) > 0]
    fresh = [name for name in free if name not in avoid]
    probed = _probed([name for name in dict.fromkeys(route) if name in demoted], command)
    if probed in fresh:
        return probed
    better = [name for name in names if name in permits and name not in demoted]
    if better:
        fresh, free = [name for name in fresh if name in better], [name for name in free if name in better]
    return next(iter(fresh + free), None)


def _probed(demoted: Sequence[str], command: str) -> str | None:
    """Name the gateway that a command probes: each has its own share of all commands, wherever the others stand."""
    if not demoted:
        return None
    share = int(fraction(f"probe|{command}") / PROBES)
    return demoted[share] if share < len(demoted) else None
