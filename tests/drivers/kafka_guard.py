"""What a broker needs to let in only whom it knows: certificates, and a user with a password."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

USER, PASSWORD, KEY_PASSWORD = "fleet", "swordfish:made-up+1", "of-the-key"
MAKING_S = 30.0


class Guard:
    """Three more ways in, each at its own address of 127.0.0.1, and what a client needs for them.

    ``safe`` is SASL_SSL, ``bare`` SASL_PLAINTEXT, and ``mutual`` SSL that asks for a certificate; the user is known by
    SCRAM-SHA-512 and PLAIN at the first, by SCRAM-SHA-256 at the second.
    """

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._folder = folder
        self.safe, self.bare, self.mutual = (f"127.0.0.1:{port}" for port in ports)
        for authority in ("authority", "stranger"):
            self._make(authority, "-subj", f"/CN={authority}")
        of_authority = ("-CA", self.file("authority.pem"), "-CAkey", self.file("authority.key"))
        address = ("-addext", "subjectAltName=IP:127.0.0.1")
        self._make("broker", *of_authority, *address, "-subj", "/CN=broker")
        self._make("client", *of_authority, "-subj", "/CN=client", password=KEY_PASSWORD)
        both = (self.file(name).read_bytes() for name in ("broker.key", "broker.pem"))
        self.file("keystore.pem").write_bytes(b"".join(both))
        self.file("password").write_text(f"{PASSWORD}\n")

    def file(self, name: str) -> Path:
        """Find one of the files: authority.pem, client.pem, client.key, stranger.pem, password."""
        return self._folder / name

    @property
    def users(self) -> tuple[str, ...]:
        """What makes the user when the broker's folder is formatted."""
        made = (f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (512, 256))
        return tuple(word for each in made for word in ("--add-scram", each))

    def properties(self, broker: int, controller: int) -> str:
        """What the broker is told beside, or instead of, what all are."""
        ways = {"SAFE": self.safe, "BARE": self.bare, "MUTUAL": self.mutual}
        theirs = ",".join(f"{name}://{address}" for name, address in ways.items())
        return _PROPERTIES.format(
            broker=broker, controller=controller, theirs=theirs, folder=self._folder, user=USER, password=PASSWORD
        )

    def _make(self, name: str, *arguments: str | Path, password: str | None = None) -> None:
        """Make a key and its certificate, signed by itself if by nobody else."""
        tool = shutil.which("openssl")
        if tool is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no openssl here")
        kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
        secret = ("-noenc",) if password is None else ("-passout", f"pass:{password}")
        files = ("-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.pem"))
        command = [tool, "req", *kind, *secret, *files, *arguments]
        made = subprocess.run(command, capture_output=True, text=True, timeout=MAKING_S, check=False)
        assert made.returncode == 0, made.stderr


_PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},{theirs}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},{theirs}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SAFE:SASL_SSL,BARE:SASL_PLAINTEXT,MUTUAL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
listener.name.mutual.ssl.client.auth=required
listener.name.safe.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.safe.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.safe.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
listener.name.bare.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.bare.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
