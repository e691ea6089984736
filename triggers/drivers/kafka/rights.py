"""What is said where Kafka lets this process in and then refuses it a right."""

from __future__ import annotations

from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

LACKING: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""What Kafka calls it."""


def lacking(place: str, what: object) -> str:
    """Say that a right is missing, and where all of them stand."""
    return (
        f'Kafka at {place} refuses its user a right ({what}): "A Kafka that asks who comes" in deploy/RUNBOOK.md'
        " has all that are needed, for each --app, --prefix and topic"
    )
