"""The broker that is measured beside its client: mosquitto, alone on a free port of 127.0.0.1.

Enters: nothing. Leaves: its port and process. It keeps nothing on
disk and ends with the benchmark. Fails: AndonError where it is not installed or does not answer.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.errors import AndonError

READY_S: Final = 10.0
LOOK_S: Final = 0.02
QUEUED_MESSAGES_MAX: Final = 100_000
"""More than the publisher lets be on the way: the broker drops nothing."""
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


@contextmanager
def running() -> Iterator[tuple[int, int]]:
    """The port and process id of mosquitto, while it runs. Raises AndonError."""
    # Debian installs it where only root's PATH leads.
    program = shutil.which("mosquitto") or shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin"
    )
    if program is None:
        raise AndonError(
            "mosquitto is not installed: it is the broker that is measured",
            "apt-get install mosquitto",
        )
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as folder:
        port = _free_port()
        log, config = Path(folder) / "log", Path(folder) / "mosquitto.conf"
        config.write_text("".join(f"{k} {v}\n" for k, v in _settings(port).items()))
        with log.open("wb") as said, subprocess.Popen(
            [program, "-c", str(config)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=_die_with_parent,
        ) as process:  # fmt: skip
            try:
                _wait(process, port, log)
                yield port, process.pid
            finally:
                process.terminate()


def _settings(port: int) -> dict[str, object]:
    return {
        "listener": f"{port} 127.0.0.1",
        "allow_anonymous": "true",
        "persistence": "false",
        "log_type": "error",
        "max_queued_messages": QUEUED_MESSAGES_MAX,
        # Changing to another user would clear the signal that ends it with us.
        "user": pwd.getpwuid(os.geteuid()).pw_name,
    }


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(LOOK_S)
        else:
            return
    said = log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise AndonError(f"mosquitto does not start: {said or 'it does not answer'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """In the child before exec: end it with the thread that starts it (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
