"""How the processes of a fleet come to Kafka: where it is, whether they speak TLS, and as whom; all in the environment."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "TRIGGERS_KAFKA_"
PROTOCOL: Final = f"{PREFIX}SECURITY_PROTOCOL"
MOST_SECRET_BYTES: Final = 4_000
MOST_PORT: Final = 65_535
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})")
_OF_USERS: Final = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file")
_OF_TLS: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_key_password")

_OPEN = BeforeValidator(lambda value: None if value == "" else value)
"""What is empty in the environment is not given: a file that hands variables on may leave some open."""
_OPEN_PROTOCOL = BeforeValidator(lambda value: "PLAINTEXT" if value == "" else value)
"""The same; who believes in a protection that is not there has given a user or a certificate, and is refused for that."""
File = Annotated[Path | None, _OPEN]
Secret = Annotated[SecretStr | None, _OPEN]


class ConnectionSettings(BaseSettings):
    """What every client of Kafka is told. All but ``bootstrap`` is for the environment, not for the command line.

    ``bootstrap`` is host:port, several joined by commas. With SSL and SASL_SSL a broker shows a certificate for the name
    that it is called by, signed by an authority in ``ssl_cafile`` (or one that the system trusts); ``ssl_certfile`` is
    ours, for brokers that ask for one. With SASL_PLAINTEXT and SASL_SSL ``sasl_username`` shows a password, which stands
    in the environment or in a file. Files are in PEM; all are read once, when the settings are made.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    bootstrap: str = Field(default="127.0.0.1:9092", min_length=1)
    security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _OPEN_PROTOCOL] = (
        "PLAINTEXT"
    )
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, _OPEN] = None
    sasl_username: Annotated[str | None, _OPEN] = None
    sasl_password: Secret = None
    sasl_password_file: File = None
    ssl_cafile: File = None
    ssl_certfile: File = None
    ssl_keyfile: File = None
    ssl_key_password: Secret = None

    _password: SecretStr | None = PrivateAttr(default=None)
    _tls: ssl.SSLContext | None = PrivateAttr(default=None)

    @field_validator("bootstrap")
    @classmethod
    def _addressed(cls, bootstrap: str) -> str:
        """Refuse what is no address, and do not show it where a password may be in it."""
        if "@" in bootstrap:
            raise ValueError(f"HOST:PORT is expected; users are given as {PREFIX}SASL_USERNAME and …SASL_PASSWORD")
        for address in bootstrap.split(","):
            found = _ADDRESS.fullmatch(address.strip())
            if found is None or not 0 < int(found[2]) <= MOST_PORT:
                raise ValueError(f"HOST:PORT is expected, several joined by commas; found {address!a}")
        return bootstrap

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        """Refuse what does not go together, and read the files. Raises ValueError that names the variable."""
        shows_user, speaks_tls = self.security_protocol.startswith("SASL_"), self.security_protocol.endswith("SSL")
        if not shows_user:
            self._refuse(_OF_USERS, "SASL_SSL")
        if not speaks_tls:
            self._refuse(_OF_TLS, "SASL_SSL" if shows_user else "SSL, or to SASL_SSL")
        self._password = self._read_password() if shows_user else None
        self._tls = self._make_tls() if speaks_tls else None
        return self

    def _refuse(self, names: tuple[str, ...], wanted: str) -> None:
        """Refuse what is of no use, since whoever gave it believes in a protection that is not there."""
        for name in names:
            if getattr(self, name) is not None:
                protocol = self.security_protocol
                raise ValueError(f"{_named(name)} is given, but {PROTOCOL} is {protocol}: set that to {wanted}")

    def _read_password(self) -> SecretStr:
        for name in ("sasl_mechanism", "sasl_username"):
            if getattr(self, name) is None:
                raise ValueError(f"{_named(name)} is missing, and {PROTOCOL} is {self.security_protocol}: give both")
        _refuse_unwritable("sasl_username", str(self.sasl_username))
        if (self.sasl_password is None) == (self.sasl_password_file is None):
            what = "missing" if self.sasl_password is None else "given twice"
            one, other = _named("sasl_password"), _named("sasl_password_file")
            raise ValueError(f"the password of {_named('sasl_username')} is {what}: give {one} or {other}")
        if self.sasl_password is None:
            return SecretStr(_secret_in("sasl_password_file", self.sasl_password_file))
        _refuse_unwritable("sasl_password", self.sasl_password.get_secret_value())
        return self.sasl_password

    def _make_tls(self) -> ssl.SSLContext:
        """Say what TLS is spoken with: a broker's certificate must be valid, trusted, and for the broker's name."""
        if self.ssl_cafile is not None:
            _refuse_unreadable("ssl_cafile", self.ssl_cafile)
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
        except ssl.SSLError:
            raise ValueError(f"{_named('ssl_cafile')}: {self.ssl_cafile} has no certificate in PEM") from None
        for name, other in (("ssl_certfile", "ssl_keyfile"), ("ssl_keyfile", "ssl_certfile")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                raise ValueError(f"{_named(name)} is missing: it goes with {_named(other)}, and may be the same file")
        if self.ssl_key_password is not None and self.ssl_keyfile is None:
            raise ValueError(f"{_named('ssl_key_password')} is given, but {_named('ssl_keyfile')} is not")
        if self.ssl_certfile is not None and self.ssl_keyfile is not None:
            self._show(context, self.ssl_certfile, self.ssl_keyfile)
        return context

    def _show(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        _refuse_unreadable("ssl_certfile", certificate)
        _refuse_unreadable("ssl_keyfile", key)
        password = "" if self.ssl_key_password is None else self.ssl_key_password.get_secret_value()
        try:
            context.load_cert_chain(certificate, key, password)  # where it is None, OpenSSL asks on the terminal
        except (ssl.SSLError, ValueError):
            raise ValueError(
                f"{_named('ssl_certfile')} and {_named('ssl_keyfile')}: {certificate} and {key} are no certificate and its"
                f" key in PEM, or {_named('ssl_key_password')} is not the key's"
            ) from None

    @property
    def client_options(self) -> dict[str, Any]:
        """What every client of aiokafka is made with, so that none comes to Kafka in another way. It holds a secret."""
        options = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol,
            "ssl_context": self._tls,
        }
        if self._password is None:
            return options
        return options | {
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self._password.get_secret_value(),
        }


def _named(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _refuse_unreadable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"{_named(name)}: {path} cannot be read: {error.strerror}") from None


def _secret_in(name: str, path: Path | None) -> str:
    """Read a secret as it is mounted: the file's only line. Raises ValueError, which does not show it."""
    assert path is not None, "one of two is given"  # noqa: S101  an invariant
    try:
        with path.open("rb") as file:
            text = file.read(MOST_SECRET_BYTES + 2).decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{_named(name)}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{_named(name)}: {path} is not text in UTF-8") from None
    _refuse_unwritable(name, text)
    return text


def _refuse_unwritable(name: str, text: str) -> None:
    if not 0 < len(text.encode()) <= MOST_SECRET_BYTES or any(character < " " for character in text):
        raise ValueError(f"{_named(name)}: one line of 1 to {MOST_SECRET_BYTES} bytes is expected")
