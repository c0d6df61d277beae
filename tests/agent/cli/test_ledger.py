"""`andon ledger`: what it prints, and what it makes of a cloud's account of this outbox."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cli.ledger.compare import Proof, Sent, compare
from agent.cli.ledger.tell import tell
from agent.forward import Forwarder
from agent.ledger import Ledger, LineLedger, SampleLedger, SinkLedger
from agent.lines import WINDOW, Lines
from agent.outbox import FILE_NAME, STAGED_LINES_MAX, Commit
from agent.outbox.intervals import Interval
from agent.outbox.sqlite import SqliteOutbox, open_outbox
from agent.signals import Path as Line
from agent.signals import Signal
from agent.sinks.influxdb import InfluxdbSink
from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud, until
from tests.write_server import Answer, WriteServer

NOTHING = {"received": [], "void": [], "void_total": 0, "repeats": 0, "holes_forgotten": 0}


@dataclass
class Outbox:
    """An outbox as `open_readonly` gives it, whose every figure a test decides."""

    uuid: str = field(default_factory=lambda: str(uuid4()))
    ids: dict[str, tuple[list[Interval], list[Interval]]] = field(default_factory=dict)
    balance: Ledger = field(default_factory=Ledger)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sent(self, sink: str, known: list[Interval], void: Sequence[Interval] = ()) -> None:
        """Acknowledged (or told void) so far, and what is void without the sink knowing."""
        self.ids[sink] = (sorted([*known, *void]), known)
        acknowledged = sum(last - first + 1 for first, last in known)
        self.balance.lines = LineLedger(acknowledged, acknowledged)
        self.balance.sinks[sink] = SinkLedger(acknowledged)

    def ledger(self) -> Ledger:
        return self.balance

    def done(self, sink: str) -> list[Interval]:
        return self.ids[sink][0]

    def known(self, sink: str) -> list[Interval]:
        return self.ids[sink][1]


KILLED = """
import sys, time
from agent.ledger import SampleLedger
from agent.outbox import Commit
from agent.outbox.sqlite import open_outbox
from tests.agent.cli.test_ledger import SIGNALS, send_all, some_windows
outbox = open_outbox(sys.argv[1], ["cloud"])
outbox.stage(some_windows(4), SIGNALS, early=True)
outbox.commit(Commit(SampleLedger()))
outbox.stage(some_windows(2), early=True)
print(outbox.uuid, flush=True)
send_all(outbox, *sys.argv[2:])
print("sent 1-6", flush=True)
time.sleep(60)
"""
START_NS = 1_750_000_000 * 10**9
SIGNALS = {0: Signal(Line("acme", "guiyang", "assembly", "line-1"), "press-01", "force", "press")}


def some_windows(count: int) -> Lines:
    """Windows one after the other."""
    rows = np.zeros(count, WINDOW)
    rows["every_ns"], rows["n"] = 10**9, 1
    rows["start_ns"] = START_NS + np.arange(count) * 10**9
    return Lines(rows)


def send_all(outbox: SqliteOutbox, url: str, token: str) -> None:
    """Send everything as the service does, until nothing waits."""
    sink = InfluxdbSink("cloud", url=url, token=token, outbox=outbox.uuid)
    forwarder = Forwarder(outbox, sink)
    forwarder.start()
    until(lambda: not outbox.ledger().lines.waiting)
    assert forwarder.stop()


class Gateway:
    """A configuration with one or more sinks, and an outbox."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.outbox = Outbox()
        self._config = folder / "agent.toml"
        self._config.write_text(f"""\
[gateway]
name = "gw-1"
path = {{ enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }}
data = "{folder}"
[[mqtt]]
name = "floor"
url = "mqtt://127.0.0.1:1883"
[[mqtt.topics]]
topic = "floor/{{machine}}/{{signal}}"
payload = {{ json = {{ value = "v", time = "ts" }} }}
""")

        def opened(path: Path) -> Outbox:
            assert path == folder / FILE_NAME
            return self.outbox

        self.folder = folder
        patch.setattr("agent.outbox.reader.open_readonly", opened)

    def sink(self, name: str, url: str, token: str, more: str = "") -> None:
        table = f'[[influxdb]]\nname = "{name}"\nurl = "{url}"\ntoken = "${{{token}}}"\n{more}\n'
        with self._config.open("a") as file:
            file.write(table)

    def ledger(self, *words: str, **environment: str) -> Result:
        env = {"NO_COLOR": "1", **environment}
        return CliRunner().invoke(app, ["ledger", str(self._config), *words], env=env)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def send(cloud: RunningCloud, uuid: str, ids: str, void: str = "") -> None:
    headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": ids}
    headers |= {"X_Andon_Void": void} if void else {}
    assert cloud.write(lines.window(1), **headers).status_code == 204


def account(received: list[Interval], void: Sequence[Interval] = (), **more: int) -> dict[str, Any]:
    total = sum(last - first + 1 for first, last in void)
    return {**NOTHING, "received": received, "void": list(void), "void_total": total, **more}


def proved(sent: Sent, held: dict[str, Any]) -> Proof:
    return compare(Proof("cloud", "https://cloud"), sent, held)


def test_the_table_names_every_count_and_its_cause(gateway: Gateway) -> None:
    samples = SampleLedger(186_402_118, 186_398_002, pending=4)
    samples.filtered["same_time"], samples.retimed["clock_ahead"] = 4112, 12
    samples.recovered["history"], samples.missed["server_queue"] = 3_600, 2
    written = LineLedger(2_811_024, 2_810_998, 6, 5)
    written.dropped["quota"], written.dead_letter["rejected"] = 13, 2
    gateway.outbox.balance = Ledger(
        samples, written, {"cloud": SinkLedger(2_810_998, 6), "vm": SinkLedger(7, 1, 2, 3)}
    )
    assert (result := gateway.ledger()).exit_code == 0
    assert result.stdout == (
        "since the outbox was made                  samples\n"
        "received                               186,402,118\n"
        "  into windows and lines               186,398,002\n"
        "  filtered: same time                        4,112\n"
        "  dropped                                        0\n"
        "  pending                                        4\n"
        "retimed: clock ahead                            12\n"
        "recovered: history                           3,600\n"
        "missed: server queue                             2\n"
        "\n"
        "                                             lines\n"
        "made                                     2,811,024\n"
        "  acknowledged                           2,810,998\n"
        "  waiting                                        6\n"
        "  replaced                                       5\n"
        "  dropped: quota                                13\n"
        "  dead letters: rejected                         2\n"
        "\n"
        "                        acknowledged       waiting  dead letters      withheld\n"
        "cloud                      2,810,998             6             0             0\n"
        "vm                                 7             1             2             3\n"
        "\n"
        "balanced.\n"
    )


def test_an_unbalanced_ledger_says_so_and_ends_with_6(gateway: Gateway) -> None:
    gateway.outbox.balance.samples.received = 1
    result = gateway.ledger()
    assert result.exit_code == 6
    assert result.stdout.endswith("NOT BALANCED.\n")


def test_a_cloud_that_holds_everything_is_said_in_one_sentence(
    gateway: Gateway, cloud: RunningCloud
) -> None:
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    send(cloud, gateway.outbox.uuid, "1-2810998")
    gateway.outbox.sent("cloud", [(1, 2_810_998)])
    result = gateway.ledger("--cloud", ANDON_TOKEN=cloud.write_token)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("balanced.  The cloud holds 1-2,810,998 without a hole.\n")


def test_void_ids_waiting_lines_and_lines_in_flight_are_told_and_are_no_loss(
    gateway: Gateway, cloud: RunningCloud
) -> None:
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    send(cloud, gateway.outbox.uuid, "1-10", "11-12")
    send(cloud, gateway.outbox.uuid, "31-40")
    gateway.outbox.sent("cloud", [(1, 12), (31, 35)], void=[(21, 21)])
    result = gateway.ledger("--cloud", ANDON_TOKEN=cloud.write_token)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split("\n\n")[-1] == (
        "balanced.  The cloud holds 1-12 and 31-40 with 1 hole.\n"
        "  13-20: 8 lines, waiting here\n"
        "  22-30: 9 lines, waiting here\n"
        "  21: 1 line, void here, as the next lines will tell it\n"
        "  2 ids will never come: replaced, dropped or rejected.\n"
        "  5 lines more than were acknowledged here: in flight.\n"
    )


def test_a_line_that_was_acknowledged_and_is_not_there_is_a_loss(
    gateway: Gateway, cloud: RunningCloud
) -> None:
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    send(cloud, gateway.outbox.uuid, "1-10")
    send(cloud, gateway.outbox.uuid, "13-20")
    gateway.outbox.sent("cloud", [(1, 20)])
    result = gateway.ledger("--cloud", ANDON_TOKEN=cloud.write_token)
    assert result.exit_code == 6
    assert result.stdout.split("\n\n")[-1] == (
        "NOT BALANCED.  The cloud holds 1-10 and 13-20 with 1 hole.\n"
        "  LOSS: 2 lines that it acknowledged and does not hold:\n"
        "  11-12: 2 lines, lost\n"
    )
    told = json.loads(gateway.ledger("--cloud", "--json", ANDON_TOKEN=cloud.write_token).stdout)
    assert told["outbox"] == gateway.outbox.uuid
    assert told["cloud"]["cloud"]["lost"] == [[11, 12]]
    assert told["cloud"]["cloud"]["balanced"] is False
    assert told["balanced"] is True  # this side's own


def test_a_cloud_that_forgot_everything_has_lost_it(gateway: Gateway, cloud: RunningCloud) -> None:
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    gateway.outbox.sent("cloud", [(1, 3)])
    result = gateway.ledger("--cloud", ANDON_TOKEN=cloud.write_token)
    assert result.exit_code == 6
    assert "The cloud has received nothing of this outbox.\n  LOSS: 3 lines" in result.stdout


def test_a_gateway_killed_while_it_sends_owes_the_cloud_nothing(
    gateway: Gateway, cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outbox, a forwarder, a kill -9 and a cloud, all of them real."""
    monkeypatch.undo()
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    path = gateway.folder / FILE_NAME
    command = [sys.executable, "-c", KILLED, str(path), cloud.url, cloud.write_token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        uuid = agent.stdout.readline().strip()
        assert agent.stdout.readline() == "sent 1-6\n"
        agent.kill()

    def told() -> Any:
        result = gateway.ledger("--cloud", "--json", ANDON_TOKEN=cloud.write_token)
        assert (result.exit_code, result.stderr) == (0, "")
        assert json.loads(result.stdout)["outbox"] == uuid
        return json.loads(result.stdout)["cloud"]["cloud"]

    killed = told()
    assert (killed["covered"], killed["lost"]) == ([[1, 6]], [])
    assert killed["in_flight"] == 6  # no commit took the cloud's yes
    with closing(open_outbox(path, ["cloud"])) as outbox:
        outbox.stage(some_windows(2), early=True)
        outbox.commit(Commit(SampleLedger()))
        send_all(outbox, cloud.url, cloud.write_token)
        outbox.commit(Commit(SampleLedger()))
        again = told()
        assert (again["holes"], again["lost"], again["untold"]) == ([], [], [])
        assert again["covered"] == [[1, 4 + STAGED_LINES_MAX + 2]]
        # Lines 5 and 6 came, and were never committed: what came is not void, whatever is said.
        assert (again["void_total"], again["repeats"]) == (STAGED_LINES_MAX - 2, 4)
        outbox.stage(some_windows(3), early=False)
        outbox.commit(Commit(SampleLedger()))
    assert told() == again  # and three lines wait


def test_another_token_comes_from_the_environment_only(
    gateway: Gateway, cloud: RunningCloud
) -> None:
    gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
    gateway.outbox.sent("cloud", [])
    refused = gateway.ledger("--cloud", ANDON_TOKEN="spent-token")
    assert refused.exit_code == 4
    assert "check the token of influxdb 'cloud'" in refused.stderr
    words = ("--cloud", "--token-env", "READER")
    read = gateway.ledger(*words, ANDON_TOKEN="spent-token", READER=cloud.read_token)
    assert (read.exit_code, read.stderr) == (0, "")
    missing = gateway.ledger(*words, ANDON_TOKEN="spent-token")
    assert missing.exit_code == 2
    assert "--token-env is 'READER'" in missing.stderr


def test_other_servers_are_skipped_and_several_sinks_are_told_apart(
    gateway: Gateway, cloud: RunningCloud
) -> None:
    with WriteServer() as other:
        other.ping = Answer(headers={"X-Influxdb-Version": "v2.7.1"})
        gateway.sink("cloud", cloud.url, "ANDON_TOKEN")
        gateway.sink("asked", other.url, "ANDON_TOKEN")
        gateway.sink("told", other.url, "ANDON_TOKEN", 'flavour = "victoriametrics"')
        gateway.sink("new", other.url, "ANDON_TOKEN", '[[uns]]\nname = "plant"\nurl = "mqtt://b"')
        for name in ("cloud", "asked", "told", "plant"):
            gateway.outbox.sent(name, [(1, 4)])
        send(cloud, gateway.outbox.uuid, "1-4")
        result = gateway.ledger("--cloud", ANDON_TOKEN=cloud.write_token)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split("\n\n")[-1] == (
        "balanced.  The cloud 'cloud' holds 1-4 without a hole.\n"
        f"asked ({other.url}) is no Andon cloud: influxdb2 keeps no account of line ids.\n"
        f"told ({other.url}) is no Andon cloud: victoriametrics keeps no account of line ids.\n"
        "plant (mqtt://b) is no Andon cloud: an MQTT broker keeps no account of line ids.\n"
    )


def test_a_cloud_that_does_not_answer_is_an_error_after_the_ledger(gateway: Gateway) -> None:
    with WriteServer() as gone:
        url = gone.url
    gateway.sink("cloud", url, "ANDON_TOKEN")
    gateway.outbox.sent("cloud", [(1, 4)])
    result = gateway.ledger("--cloud", ANDON_TOKEN="t")
    assert result.exit_code == 3
    assert result.stdout.endswith("balanced.  The cloud could not be asked.\n")
    assert result.stderr.startswith(f"error: {url}")


def test_an_outbox_file_that_is_an_older_copy_is_told() -> None:
    sent = Sent([(1, 5)], [(1, 5)], waiting=2)
    ahead = proved(sent, account([(1, STAGED_LINES_MAX + 8)]))
    assert not ahead.balanced
    document = Ledger().document()
    assert "the file is an older copy" in "\n".join(tell(document, [ahead]))
    assert proved(sent, account([(1, STAGED_LINES_MAX + 7)])).balanced


def test_holes_that_the_cloud_forgot_prove_nothing_and_many_holes_are_counted() -> None:
    held = account([(n, n) for n in range(1, 60, 2)], holes_forgotten=3)
    told = "\n".join(tell(Ledger().document(), [proved(Sent([], [], 29), held)]))
    assert "The cloud holds 1 ... 59 with 29 holes." in told
    assert "  40: 1 line, waiting here\n  and 9 lines in 9 more intervals, waiting here" in told
    assert "gave up remembering 3 holes" in told


ids = st.sets(st.integers(1, 40))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ids, ids, ids, ids)
def test_every_id_gets_the_verdict_of_plain_sets(
    known: set[int], void: set[int], received: set[int], told: set[int]
) -> None:
    told -= received
    proof = proved(Sent(runs(known | void), runs(known), 0), account(runs(received), runs(told)))
    covered = received | told
    assert runs_of(proof.lost) == known - covered
    assert runs_of(proof.untold) == void - known - covered
    holes = set(range(1, max(covered, default=0) + 1)) - covered
    assert runs_of(proof.holes) == holes
    assert runs_of(proof.waiting) == holes - known - void
    assert proof.in_flight == len(received - known - void)


def runs(numbers: set[int]) -> list[Interval]:
    return [(number, number) for number in sorted(numbers)]


def runs_of(intervals: Sequence[Interval]) -> set[int]:
    return {number for first, last in intervals for number in range(first, last + 1)}
