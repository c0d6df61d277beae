"""A gateway's configuration and outbox, as the commands find them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from typer.testing import CliRunner, Result

from agent.cli import app
from agent.ledger import SampleLedger
from agent.lines import Lines
from agent.outbox import FILE_NAME, Commit
from agent.outbox.reader import open_readonly
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from tests.cloud.lines import window
from tests.write_server import Request

ROOT = Path(__file__).parents[4]
ENVIRON = {"NO_COLOR": "1", "ANDON_TOKEN": "t"}


class Gateway:
    """A configuration, its data folder and its outbox."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.file = self.data / FILE_NAME
        self.config = folder / "agent.toml"
        self.config.write_text(f"""\
[gateway]
name = "gw-1"
path = {{ enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }}
data = "{self.data}"
[[mqtt]]
name = "floor"
url = "mqtt://127.0.0.1:9"
[[mqtt.topics]]
topic = "floor/{{machine}}/{{signal}}"
payload = {{ json = {{ value = "v", time = "ts" }} }}
""")

    def sink(self, url: str, name: str = "cloud") -> None:
        with self.config.open("a") as file:
            file.write(
                f'[[influxdb]]\nname = "{name}"\nurl = "{url}"\ntoken = "${{ANDON_TOKEN}}"\n'
                "timeout_s = 1\nlines_max = 100\n"
            )

    @contextmanager
    def writing(self, now_ns: Callable[[], int] = time.time_ns) -> Iterator[SqliteOutbox]:
        """The outbox as a service has it open."""
        with closing(open_outbox(self.file, ["cloud"], reserve_bytes=0, now_ns=now_ns)) as outbox:
            yield outbox

    @contextmanager
    def process(self, *words: object) -> Iterator[subprocess.Popen[bytes]]:
        """A command of andon in a process of its own, which ends with the block."""
        command = [sys.executable, "-m", "agent", *map(str, words)]
        environment = os.environ | ENVIRON | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)

    def run(self, *words: object, **environment: str) -> Result:
        command = ["outbox", *map(str, words)]
        if words[:1] and words[0] in ("export", "import", "dead"):
            command += ["--config", str(self.config)]
        else:
            command[1:1] = ["--config", str(self.config)]
        return CliRunner().invoke(app, command, env={**ENVIRON, **environment})


def make(outbox: SqliteOutbox, first: int, last: int) -> None:
    """Lines that say their ids."""
    lines = tuple(window(n * 10**9).encode() for n in range(first, last + 1))
    outbox.stage(Lines(ready=lines), early=False)
    outbox.commit(Commit(SampleLedger(last, last), b"journal"))


def acknowledge(outbox: SqliteOutbox, last: int) -> None:
    while packet := outbox.packet("cloud", last, live=False):
        if packet.first > last:
            break
        outbox.acknowledge("cloud", packet.first, min(packet.last, last))
    outbox.commit(Commit(outbox.ledger().samples))


def ids(request: Request) -> tuple[int, int]:
    first, _, last = request.headers["x-andon-lines"].partition("-")
    return int(first), int(last)


def waiting(file: Path) -> int:
    with open_readonly(file) as reader:
        return reader.usage().lines_waiting
