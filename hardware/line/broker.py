"""An MQTT broker of our own on 127.0.0.1, for the demo and for tests: mosquitto, else amqtt.

In: nothing but what is installed. Out: a running child process and its URL; anonymous clients are
let in, nothing is kept on disk unless a folder is named. Fails with LineError(UNREACHABLE) where
neither broker is installed or none answers within `READY_DEADLINE_S`. The child ends with `stop()`,
and also when the thread that called `start_broker` dies (PR_SET_PDEATHSIG, Linux): call it from the
main thread.
"""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from hardware.line.control import ExitCode, LineError

READY_DEADLINE_S = 10.0
READY_POLL_S = 0.02
STOP_DEADLINE_S = 2.0
STARTS_MAX = 5  # a free port may be taken by somebody else before the broker binds it
QUEUED_MESSAGES_MAX = (
    100_000  # mosquitto's own 1,000 would drop what a paused agent has not fetched
)

Kind = Literal["mosquitto", "amqtt"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Broker:
    """A running broker; `kind` says which."""

    url: str
    port: int
    kind: Kind
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, kindly at first. Stopping twice is harmless."""
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_broker(kind: Kind | None = None, *, port: int = 0, kept: Path | None = None) -> Broker:
    """Start a broker on a free port and wait until it answers.

    kind : which one; None takes mosquitto where it is installed, else amqtt.
    port : this port instead, such as the one it had before.
    kept : a folder where mosquitto keeps sessions and any number of messages for them. It writes
        them when it ends, and at SIGUSR1; killed, it forgets what came since.
    """
    kind = kind or ("mosquitto" if _mosquitto() else "amqtt")
    if kind == "mosquitto" and not _mosquitto():
        raise LineError(ExitCode.UNREACHABLE, "mosquitto is not installed; install it")
    if kind == "amqtt" and find_spec("amqtt") is None:
        raise LineError(
            ExitCode.UNREACHABLE,
            "no MQTT broker: neither mosquitto nor the Python package amqtt is installed; "
            "install one of them, or name a running broker with --mqtt-url",
        )
    if kept is not None and kind != "mosquitto":
        raise LineError(ExitCode.USAGE, f"{kind} keeps nothing; install mosquitto")
    said = ""
    for _ in range(STARTS_MAX):
        tried = port or _free_port()
        with tempfile.TemporaryDirectory(prefix="andon-broker-") as folder:
            log = Path(folder) / "log"
            process = _launch(_command(kind, tried, Path(folder), kept), log)
            if _answers(process, tried):
                return Broker(f"mqtt://127.0.0.1:{tried}", tried, kind, process)
            Broker("", tried, kind, process).stop()
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise LineError(ExitCode.UNREACHABLE, f"cannot start {kind}: {said or 'it does not answer'}")


@contextmanager
def running_broker(kind: Kind | None = None) -> Iterator[Broker]:
    """`start_broker` for a `with` block: stopped at its end."""
    broker = start_broker(kind)
    try:
        yield broker
    finally:
        broker.stop()


def _mosquitto() -> str | None:
    # Debian installs it where only root's PATH leads.
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _command(kind: Kind, port: int, folder: Path, kept: Path | None) -> list[str]:
    if kind == "amqtt":
        return [sys.executable, "-m", "hardware.line.broker", str(port)]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\n"
        "allow_anonymous true\n"
        f"{_persistence(kept)}"
        "log_dest stderr\n"
        "log_type error\n"
        # Changing to another user would clear the signal that ends it with us.
        f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"
    )
    return [_mosquitto() or "mosquitto", "-c", str(config)]


def _persistence(kept: Path | None) -> str:
    if kept is None:
        return f"persistence false\nmax_queued_messages {QUEUED_MESSAGES_MAX}\n"
    return f"persistence true\npersistence_location {kept}/\nmax_queued_messages 0\n"


def _launch(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    parent = os.getpid()
    with log.open("wb") as stderr:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C is for us: we end the broker last
            preexec_fn=lambda: _die_with(parent),
        )


def _die_with(parent: int) -> None:
    """In the child before exec: ask the kernel to end us with our parent (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + READY_DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(READY_POLL_S)
        else:
            return process.poll() is None
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _serve_amqtt(port: int) -> None:
    from amqtt.broker import Broker as AmqttBroker

    broker = AmqttBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_amqtt(int(sys.argv[1])))
