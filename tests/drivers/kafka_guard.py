"""What a broker needs to let in only whom it knows: certificates, and a user with a password."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

USER, PASSWORD, KEY_PASSWORD = "triggers", "swordfish:made-up+1", "of-the-key"
MAKING_S = 30.0
RESOURCES = {"--topic": 2, "--group": 3, "--transactional-id": 5}
OPERATIONS = {"All": 2, "Read": 3, "Write": 4, "DescribeConfigs": 10}
PATTERNS = {"prefixed": 4, "literal": 3}
ALLOW = 3
"""As Kafka's protocol numbers them."""


class Guard:
    """More ways in, each at its own address of 127.0.0.1, and what a client needs for them.

    ``safe`` is SASL_SSL, ``bare`` SASL_PLAINTEXT, and ``mutual`` SSL that asks for a certificate; the user is known by
    SCRAM-SHA-512 and PLAIN at the first, by SCRAM-SHA-256 at the second. Whoever comes by ``renamed`` or ``lost``, SSL,
    is sent on: to a name that the certificate has not, or to where nobody answers.
    """

    PORTS = 5

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._folder = folder
        self.safe, self.bare, self.mutual, self.renamed, self.lost = (f"127.0.0.1:{port}" for port in ports)
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
        ways |= {"RENAMED": self.renamed, "LOST": self.lost}
        said = ways | {"RENAMED": self.renamed.replace("127.0.0.1", "localhost"), "LOST": "127.0.0.1:1"}
        return _PROPERTIES.format(
            broker=broker,
            controller=controller,
            ways=",".join(f"{name}://{address}" for name, address in ways.items()),
            said=",".join(f"{name}://{address}" for name, address in said.items()),
            folder=self._folder,
            user=USER,
            password=PASSWORD,
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


async def give_rights(bootstrap: str, lines: Iterable[str]) -> None:
    """Do what ``kafka-acls --add`` would, given its other options as they stand in one line each."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        node = client.get_random_node()
        for line in lines:
            words = line.split()
            told = list(zip(words[::2], words[1::2], strict=True))
            one = dict(told)
            [kind] = RESOURCES.keys() & one.keys()
            pattern = PATTERNS[one.get("--resource-pattern-type", "literal")]
            for operation in (OPERATIONS[value] for name, value in told if name == "--operation"):
                wanted = (RESOURCES[kind], one[kind], pattern, one["--allow-principal"], "*", operation, ALLOW)
                answer = await client.send(node, CreateAclsRequest(*wanted))
                assert not any(error for error, *_ in answer.creation_responses), answer
    finally:
        await client.close()


_PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},{ways}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},{said}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SAFE:SASL_SSL,BARE:SASL_PLAINTEXT,\
  MUTUAL:SSL,RENAMED:SSL,LOST:SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
listener.name.mutual.ssl.client.auth=required
connection.failed.authentication.delay.ms=0
listener.name.safe.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.safe.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.safe.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
listener.name.bare.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.bare.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
