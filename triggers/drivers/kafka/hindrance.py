"""Finds out what keeps this process from Kafka, which aiokafka tells its log alone, and words it for who can mend it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from triggers.drivers.kafka.connection_settings import PREFIX, PROTOCOL
from triggers.errors import AccessRefused, ServiceUnusable

if TYPE_CHECKING:
    from triggers.drivers.kafka.connection_settings import ConnectionSettings

ASKING_MS: Final = 5_000
"""How long a broker may take to let this process in."""
_OTHER_NAME: Final = frozenset({62, 64})
"""What OpenSSL calls a certificate for another host, and for another address."""
_OUT_OF_DATE: Final = frozenset({9, 10})
"""What it calls a certificate that is not valid yet, and one that is no more."""
_OF_OURS: Final = ("ALERT_CERTIFICATE", "ALERT_BAD_CERTIFICATE", "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_UNKNOWN_CA")
"""What a broker calls it that it does not know this process by its certificate."""


class _Heard(NamedTuple):
    """What one broker has against this process, and the addresses of all, if it tells them."""

    hindrance: ServiceUnusable | None = None
    brokers: frozenset[tuple[str, int]] = frozenset()


async def hindrance(settings: ConnectionSettings) -> ServiceUnusable | None:
    """Go as far as a client would with each broker, and tell what one of them has against this process.

    What has to be changed on either side first is AccessRefused. None if nobody answers, or if all is well by now.
    """
    named = {(host, port) for host, port, _ in collect_hosts(settings.bootstrap)}
    heard = await asyncio.gather(*(_ask(settings, *place) for place in named))
    others = sorted(frozenset().union(*(each.brokers for each in heard)) - named)
    heard += await asyncio.gather(*(_ask(settings, *place) for place in others))
    found = [each.hindrance for each in heard if each.hindrance is not None]
    found += [_unheard(*place) for place, each in zip(others, heard[len(named) :], strict=True) if each == _Heard()]
    return next((each for each in found if isinstance(each, AccessRefused)), next(iter(found), None))


async def _ask(settings: ConnectionSettings, host: str, port: int) -> _Heard:
    options = settings.client_options
    del options["bootstrap_servers"]
    try:
        async with asyncio.timeout(ASKING_MS / 1_000):
            connection = await create_conn(host, port, request_timeout_ms=ASKING_MS, **options)
            try:
                told = await connection.send(MetadataRequest([]))
            finally:
                await connection.close()
    except (OSError, KafkaError, TimeoutError) as error:
        return _Heard(_worded(error, f"{host}:{port}", settings.security_protocol))
    return _Heard(brokers=frozenset((host, port) for _, host, port, *_ in told.brokers))


def _unheard(host: str, port: int) -> ServiceUnusable:
    return ServiceUnusable(
        f"nobody answers at {host}:{port}, which Kafka names as one of its brokers: see that it runs, and that what the"
        " brokers' advertised.listeners say can be reached from here"
    )


def _worded(error: BaseException, place: str, protocol: str) -> ServiceUnusable | None:
    """Say what to mend; None where nobody answers."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLError):
            return _of_tls(at, place, protocol)
        at = at.__cause__
    if isinstance(error, SaslAuthenticationFailed):
        return AccessRefused(
            f"Kafka at {place} refuses the user: see {PREFIX}SASL_USERNAME, its password in {PREFIX}SASL_PASSWORD or"
            f" {PREFIX}SASL_PASSWORD_FILE, and {PREFIX}SASL_MECHANISM"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return AccessRefused(f"Kafka at {place} knows users in another way: set {PREFIX}SASL_MECHANISM to its own")
    if isinstance(error, IllegalSaslStateError):
        return AccessRefused(f"Kafka at {place} asks for no user: set {PROTOCOL} to {protocol.removeprefix('SASL_')}")
    if isinstance(error, TimeoutError) or (isinstance(error, OSError) and not isinstance(error, ConnectionResetError)):
        return None
    return ServiceUnusable(_other_protocol(place, protocol))


def _of_tls(error: ssl.SSLError, place: str, protocol: str) -> ServiceUnusable:
    reason = (error.reason or "no reason given").replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return AccessRefused(
                f"the certificate of Kafka at {place} is for another name: write --bootstrap or {PREFIX}BOOTSTRAP as the"
                f" certificate has it, or give the broker one for this name ({error.verify_message})"
            )
        if error.verify_code in _OUT_OF_DATE:
            return AccessRefused(
                f"the certificate of Kafka at {place}, or that of its authority, is out of date ({error.verify_message}):"
                " give the broker a new one, and see that this machine's clock is right"
            )
        return AccessRefused(
            f"the certificate of Kafka at {place} is not trusted ({error.verify_message}): set {PREFIX}SSL_CAFILE to"
            " the authority that signed it"
        )
    if any(word in (error.reason or "") for word in _OF_OURS):
        return AccessRefused(
            f"Kafka at {place} wants a certificate of this process that it trusts ({reason}): set {PREFIX}SSL_CERTFILE"
            f" and {PREFIX}SSL_KEYFILE"
        )
    return ServiceUnusable(f"{_other_protocol(place, protocol)} ({reason})")


def _other_protocol(place: str, protocol: str) -> str:
    return (
        f"Kafka at {place} does not go on where this process speaks {protocol}: set {PROTOCOL} to what is spoken there"
    )
