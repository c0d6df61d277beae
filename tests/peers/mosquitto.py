"""Real mosquitto, listening as a plant's broker does.

    with running(folder, tls=True, persistence=True, max_queued_messages=0) as broker:
        broker.url()                    # mqtt://127.0.0.1:40001
        broker.url("mqtts")             # asks for a certificate of broker.authority
        broker.stop()                   # SIGTERM: it writes its file; kill() is the power cut
        broker.start()                  # on the same ports, with what it kept

Debian's mosquitto is built without WebSockets; its WebSocket listeners are npm's `ws` before it
(`sparkplug_node/websockets.mjs`), as a plant puts a web server before its broker.

The broker ends with the thread that started it (see `hardware.line.broker`): start it from the
test's own.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from hardware.line import broker as line
from tests.peers import npm
from tests.peers.authority import Authority, Pair

Scheme = Literal["mqtt", "mqtts", "ws", "wss"]

READY_S: Final = 20.0
STOP_S: Final = 20.0
"""A broker that ends writes its file first."""
STARTS_MAX: Final = 5
"""A free port may be taken by somebody else before it is listened on."""
QUEUED_MESSAGES_MAX: Final = 100_000


class MosquittoError(Exception):
    """It did not start, or did not end; the message holds what it said."""


class Broker:
    """One mosquitto, at first not running. It keeps its ports, all on 127.0.0.1.

    folder : for its files: what it keeps, `authority/`, `mosquitto.log`
    tls : listens for `mqtts` too, and with `websockets` for `wss`
    websockets : listens for `ws` too
    client_certificates : over TLS, only clients with a certificate of its authority are let in
    persistence : keeps sessions and messages on disk; it writes them when it is stopped, every
        `autosave_interval` and at SIGUSR1
    users : password by name; without any, everybody is let in
    acl : the text of its access control file
    authority : whose certificates it shows and takes; without one, its own
    server : the certificate that it shows; without one, a right one
    conf : settings of mosquitto.conf, such as `max_inflight_messages=100`
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        websockets: bool = False,
        client_certificates: bool = True,
        persistence: bool = False,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        authority: Authority | None = None,
        server: Pair | None = None,
        **conf: object,
    ) -> None:
        self.folder = folder
        self.ports: dict[Scheme, int] = {"mqtt": 0}
        self.ports |= {"mqtts": 0} if tls else {}
        self.ports |= {"ws": 0} if websockets else {}
        self.ports |= {"wss": 0} if websockets and tls else {}
        self.users = dict(users or {})
        self.acl = acl
        self.conf = {
            "allow_anonymous": not self.users, "persistence": persistence,
            "max_queued_messages": QUEUED_MESSAGES_MAX, **conf,
        }  # fmt: skip
        self._client_certificates = client_certificates
        self._authority = authority
        self._server = server
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def port(self) -> int:
        """The plain listener's."""
        return self.ports["mqtt"]

    @property
    def pid(self) -> int:
        """mosquitto's process."""
        assert self._processes, "it is not running"
        return self._processes[0].pid

    @property
    def is_running(self) -> bool:
        return bool(self._processes) and all(one.poll() is None for one in self._processes)

    @property
    def authority(self) -> Authority:
        """Who signed its certificate, and whose clients' certificates it takes."""
        if self._authority is None:
            self._authority = Authority(self.folder / "authority")
        return self._authority

    def url(self, scheme: Scheme = "mqtt", host: str = "127.0.0.1") -> str:
        """Where this kind of client connects."""
        path = "/mqtt" if scheme in ("ws", "wss") else ""
        return f"{scheme}://{host}:{self.ports[scheme]}{path}"

    def start(self, *, server: Pair | None = None, **conf: object) -> None:
        """Start it, with these options changed; returns when every port is listened on.

        server : shows this certificate from now on, instead of the right one
        """
        self._server = server or self._server
        self.conf |= conf
        for tried in range(STARTS_MAX):
            asked = dict(self.ports)
            self.ports = {scheme: port or line._free_port() for scheme, port in asked.items()}
            self._launch()
            if self._is_ready():
                return
            self.kill()
            if all(asked.values()) or tried + 1 == STARTS_MAX:
                said = self._log(0).read_text(errors="replace")[-2_000:]
                raise MosquittoError(f"mosquitto at {self.ports} did not start: {said}")
            self.ports = asked

    def stop(self) -> None:
        """End it with SIGTERM; it writes what it keeps first. Stopping twice is harmless."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, how: Literal["stop", "kill"] = "stop", **conf: object) -> None:
        """End it and start it again on the same ports, with these options changed."""
        self.stop() if how == "stop" else self.kill()
        self.start(**conf)  # type: ignore[arg-type]

    def pause(self) -> None:
        """Freeze it: it says nothing any more, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(by)
            process.send_signal(signal.SIGCONT)
        for process in self._processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise MosquittoError(f"{process.args!r} did not end") from error
        self._processes.clear()

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(self._written())
        commands = [[line._mosquitto() or "mosquitto", "-c", str(config)]]
        if "ws" in self.ports:
            npm.install(npm.SPARKPLUG)
            asked = {"to": self.port, "ws": self.ports["ws"], **self._wss()}
            program = str(npm.SPARKPLUG / "websockets.mjs")
            commands.append([npm.node(), program, json.dumps(asked)])
        for number, command in enumerate(commands):
            self._processes.append(line._launch(command, self._log(number)))

    def _is_ready(self) -> bool:
        deadline_s = time.monotonic() + READY_S
        waiting = list(self.ports.values())
        while waiting and time.monotonic() < deadline_s and self.is_running:
            try:
                socket.create_connection(("127.0.0.1", waiting[-1]), timeout=1).close()
                waiting.pop()
            except OSError:
                time.sleep(line.READY_POLL_S)
        return not waiting and self.is_running

    def _written(self) -> str:
        """Its configuration file, and the files that it names."""
        settings = {**self.conf, "user": pwd.getpwuid(os.geteuid()).pw_name, "log_dest": "stderr"}
        if self.users:
            passwords = settings["password_file"] = self._file("passwords", self._passwords())
            subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
        if self.acl:
            settings["acl_file"] = self._file("acl", self.acl)
        if settings["persistence"]:
            settings["persistence_location"] = f"{self.folder}/"
        lines = [f"{name} {_said(value)}" for name, value in settings.items()]
        lines.append(f"listener {self.port} 127.0.0.1")
        if "mqtts" in self.ports:
            server = self._shown()
            lines += [
                f"listener {self.ports['mqtts']} 127.0.0.1", f"cafile {self.authority.ca}",
                f"certfile {server.certificate}", f"keyfile {server.key}",
                f"require_certificate {_said(self._client_certificates)}",
            ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _wss(self) -> dict[str, object]:
        if "wss" not in self.ports:
            return {}
        server = self._shown()
        return {
            "wss": self.ports["wss"], "ask": self._client_certificates,
            "ca": str(self.authority.ca), "certificate": str(server.certificate),
            "key": str(server.key),
        }  # fmt: skip

    def _shown(self) -> Pair:
        if self._server is None:
            self._server = self.authority.issue("broker")
        return self._server

    def _passwords(self) -> str:
        return "".join(f"{user}:{password}\n" for user, password in self.users.items())

    def _file(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o600)
        return str(file)

    def _log(self, number: int) -> Path:
        return self.folder / ("mosquitto.log", "websockets.log")[number]


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Broker]:
    """A broker for as long as it is needed; the options are those of `Broker`."""
    broker = Broker(folder, **options)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
