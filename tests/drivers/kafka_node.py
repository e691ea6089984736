"""One broker's process, which is its own controller or one of several, and what it is told to be."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_guard import Guard

LARGEST_RECORD_BYTES = 8 << 20
STOPPING_S = 10.0
CLUSTER_ID = "dHJpZ2dlcnMtdGVzdHMtMQ"
"""16 bytes in base64, as Kafka writes its ids."""

JAVA = ("java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
LOG_LEVEL = "-Dorg.apache.logging.log4j.level=WARN"


class Broker:
    """One broker that is its own controller, or one of several. It keeps its ports and its folder when it starts again.

    ``start`` does not wait. A broker ends with the thread that started it: start none from a thread of a pool.
    """

    def __init__(
        self, found: Path, folder: Path, number: int, ports: list[tuple[int, int]], guard: Guard | None = None
    ) -> None:
        self.number = number
        self.port, _ = ports[number - 1]
        self.log = folder / f"broker-{number}.log"
        self._data = folder / f"data-{number}"
        self._command = (*JAVA, LOG_LEVEL, "-cp", f"{found}/*")
        self._config = folder / f"broker-{number}.properties"
        self._users = () if guard is None else guard.users
        more = "" if guard is None else guard.properties(*ports[number - 1])
        self._config.write_text(_config(number, ports, self._data) + more)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def format(self) -> subprocess.Popen[bytes]:
        """Begin to make its folder ready."""
        return self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", self._config, *self._users)

    def start(self) -> None:
        """Start its process."""
        assert not self.alive
        self._process = self._run("kafka.Kafka", self._config)

    def kill(self) -> None:
        """End its process at once, without a word to the others."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOPPING_S)

    def forget(self) -> None:
        """Remove its data. Its log stays."""
        shutil.rmtree(self._data, ignore_errors=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process: SIGSTOP makes it hang, SIGCONT goes on."""
        if self.alive:
            assert self._process is not None
            self._process.send_signal(number)

    def sees(self) -> set[int]:
        """Ask it for the numbers of the brokers that serve; none while it does not answer itself."""
        # Metadata, version 1, of no topic; by hand, as it is asked outside of any event loop.
        question = struct.pack(">hhih4si", 3, 1, 1, 4, b"test", 0)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack(">i", len(question)) + question)
                answer = connection.makefile("rb")
                (length,) = struct.unpack(">i", answer.read(4))
                return _numbers(answer.read(length))
        except (OSError, struct.error):
            return set()

    def tail(self) -> str:
        """Read the end of its log."""
        return self.log.read_text(errors="replace")[-3_000:]

    def _run(self, *program: str | Path) -> subprocess.Popen[bytes]:
        # It must not outlive tests that were killed.
        ends_with_us = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*ends_with_us, *self._command, *program],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def _config(number: int, ports: list[tuple[int, int]], data: Path) -> str:
    broker, controller = ports[number - 1]
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, (_, port) in enumerate(ports, start=1))
    replicas = min(3, len(ports))
    return _CONFIG.format(
        number=number,
        broker=broker,
        controller=controller,
        voters=voters,
        data=data,
        replicas=replicas,
        in_sync=replicas // 2 + 1,
        largest=LARGEST_RECORD_BYTES,
    )


def _numbers(answer: bytes) -> set[int]:
    """Read the brokers' numbers out of an answer to a question for metadata in version 1."""
    _, brokers = struct.unpack_from(">ii", answer)
    at, found = 8, set()
    for _ in range(brokers):
        number, length = struct.unpack_from(">ih", answer, at)
        found.add(number)
        at += 4 + 2 + length + 4 + 2  # the host, the port, and the rack that it has not
    return found


_CONFIG = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}

auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
message.max.bytes={largest}
replica.fetch.max.bytes={largest}

# Recorded logs are of any year.
log.message.timestamp.before.max.ms=9223372036854775807
log.message.timestamp.after.max.ms=9223372036854775807
log.retention.ms=-1

# What is over is seen soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=1000

# Small.
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
"""
