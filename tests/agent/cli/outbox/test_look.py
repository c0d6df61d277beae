"""`andon outbox`: what it says of what waits, and of what was rejected."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agent.cli.outbox.look import status
from agent.cli.outbox.tell import span, tell
from agent.outbox import Commit, DeadLetter
from tests.agent.cli.outbox.gateway import Gateway, acknowledge, make
from tests.cloud.server import until

DOCUMENT: dict[str, Any] = {
    "file": "/var/lib/andon/outbox.db",
    "uuid": "u",
    "bytes": 3_100_000,
    "bytes_max": 1 << 30,
    "lines_waiting": 1204,
    "oldest_s": 252.0,
    "lines_in_per_s": 1018.25,
    "lines_out_per_s": 0.0,
    "bytes_in_per_s": 4000.0,
    "hours_left": 61.2,
    "drain_s": None,
    "dead_letters": 1,
    "dropped": {"quota": 1, "damaged": 7002, "age": 0},
    "sinks": {
        "cloud": {"acknowledged": 2_810_998, "waiting": 1204, "dead_letter": 1, "withheld": 0},
        "vm": {"acknowledged": 9, "waiting": 0, "dead_letter": 0, "withheld": 3},
    },
    "wrote_s": 0.4,
    "service": {
        "gb_per_day": 0.312,
        "gb_per_day_max": 1.6,
        "commit_interval_s": 2.13,
        "sources": {
            "press": {"journaled": True, "held_back": 1, "redelivered": 0},
            "floor": {"journaled": False, "held_back": 0, "redelivered": 12},
        },
        "sinks": {"cloud": "cloud unreachable (no route); next try in 8 s"},
    },
}


def test_a_person_reads_how_much_how_old_how_long_and_what_the_disk_is_asked() -> None:
    assert list(tell(DOCUMENT)) == [
        "outbox /var/lib/andon/outbox.db",
        "  holds     3.1 MB of at most 1.07 GB",
        "  waiting   1,204 lines, the oldest for 4 min 12 s",
        "  comes in  1,018.2 lines/s",
        "  goes out  0.0 lines/s",
        "  room      for 2 d 13 h at this rate, were nothing sent any more",
        "  drains    not at this rate: no more goes out than comes in",
        "  disk      writes 0.31 of 1.60 GB a day, a commit every 2.1 s",
        "  journal   without floor: a crash loses the windows that are open there",
        "  press     held back once: more came than could be taken",
        "  floor     12 packets came twice and counted once",
        "  cloud     1,204 waiting, 2,810,998 sent, 1 rejected",
        "            cloud unreachable (no route); next try in 8 s",
        "  vm        0 waiting, 9 sent, 3 of them left out: it cannot hold them",
        "  dropped   7,002 lines: they could not be read back from the disk",
        "  dropped   1 line: there was no room",
        "1 line was rejected by a far side: see `andon outbox dead`",
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lines_waiting": 0, "oldest_s": None}, "  waiting   nothing"),
        ({"lines_waiting": 1, "oldest_s": 0.2}, "1 line, the oldest for less than a second"),
        ({"drain_s": 3700.0}, "  drains    in 1 h 1 min"),
        ({"hours_left": 0.0}, "  room      none: what is worth least is dropped"),
        ({"hours_left": None}, "  room      for more than 10 years at this rate"),
        ({"hours_left": None, "bytes_in_per_s": 0.0}, "  room      all of it: nothing comes"),
    ],
)
def test_what_is_unusual_reads_well(changed: dict[str, Any], told: str) -> None:
    assert told in "\n".join(tell(DOCUMENT | changed))


def test_nothing_that_waits_has_no_time_to_drain() -> None:
    assert "drains" not in "\n".join(tell(DOCUMENT | {"lines_waiting": 0}))


def test_spans_are_told_in_their_two_largest_units() -> None:
    told = [span(s) for s in (0.4, 59.6, 61, 3600, 86_399.7, 200_000, 86_400 * 400)]
    assert told == ["less than a second", "1 min", "1 min 1 s", "1 h", "1 d", "2 d 7 h", "400 d"]


def test_without_a_service_the_rates_are_those_of_when_it_last_wrote(gateway: Gateway) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 600)
        acknowledge(outbox, 100)
    result = gateway.run("--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert list(document) == list(DOCUMENT)
    assert (document["lines_waiting"], document["service"]) == (500, None)
    assert document["sinks"]["cloud"]["acknowledged"] == 100
    assert document["lines_in_per_s"] >= 5 * document["lines_out_per_s"] > 0
    assert document["hours_left"] > 0
    told = gateway.run().stdout
    assert told.startswith(f"outbox {gateway.file}\n  holds ")
    assert "no service runs here; the last one wrote less than a second ago, and rates" in told


def test_rates_do_not_fade_once_nobody_writes(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway.writing() as outbox:
        make(outbox, 1, 600)
    rate = json.loads(gateway.run("--json").stdout)["lines_in_per_s"]
    a_week_on = time.time_ns() + 7 * 86_400 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: a_week_on)
    later = json.loads(gateway.run("--json").stdout)
    assert later["lines_in_per_s"] == rate
    assert later["oldest_s"] == pytest.approx(7 * 86_400, abs=60)
    assert "wrote 7 d ago" in gateway.run().stdout


def test_beside_a_service_it_says_what_the_disk_is_asked(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: dict[str, Any] = {
        "outbox": {"gb_per_day": 0.3, "gb_per_day_max": 1.6, "commit_interval_s": 1.0},
        "sources": {"floor": {"journaled": True, "held_back": 0, "redelivered": 2, "state": "x"}},
        "sinks": {"cloud": {"state": "cloud: nothing sent yet", "lag_ms": 0}},
    }

    def ask(folder: Path) -> dict[str, Any]:
        assert folder == gateway.data
        return answer

    monkeypatch.setattr("agent.cli.outbox.look.ask_status", ask)
    with gateway.writing() as outbox:
        make(outbox, 1, 3)
        document = json.loads(gateway.run("--json").stdout)
        told = gateway.run().stdout
    assert document["service"] == {
        **answer["outbox"],
        "sources": {"floor": {"journaled": True, "held_back": 0, "redelivered": 2}},
        "sinks": {"cloud": "cloud: nothing sent yet"},
    }
    assert "writes 0.30 of 1.60 GB a day, a commit every 1 s" in told
    assert "no service" not in told


def test_a_service_that_runs_is_asked_and_keeps_its_lines(gateway: Gateway, tmp_path: Path) -> None:
    gateway.sink("http://127.0.0.1:9")
    with gateway.process("run", str(gateway.config)):
        until(lambda: (status(gateway.data) or {}).get("sources"), 30)
        document = json.loads(gateway.run("--json").stdout)
        told = gateway.run().stdout
        refused = gateway.run("export", tmp_path / "stick.db", "--take")
    service = document["service"]
    assert service["gb_per_day_max"] == 1.6
    assert service["commit_interval_s"] > 0
    assert list(service["sources"]) == ["floor"]
    assert None not in (*service.values(), *service["sources"]["floor"].values())
    assert "\n  disk      writes " in told
    assert "\n  journal   holds all sources: a crash loses no window\n" in told
    assert (refused.exit_code, (tmp_path / "stick.db").exists()) == (5, False)
    assert "error: the service runs, and goes on sending these lines" in refused.stderr


def test_where_there_is_no_outbox_it_says_so(gateway: Gateway) -> None:
    result = gateway.run()
    assert result.exit_code == 5
    assert f"error: there is no outbox {gateway.file}" in result.stderr


def test_dead_letters_are_shown_with_reasons_and_cannot_move_the_cursor(gateway: Gateway) -> None:
    assert gateway.run("dead").exit_code == 5
    with gateway.writing() as outbox:
        assert gateway.run("dead").stdout == "no dead letters\n"
        make(outbox, 1, 3)
        assert outbox.packet("cloud", 3, live=False)
        letters = [
            DeadLetter(n, "too_large", f"no\x1b[2J to {n}", b"a v=%di" % n) for n in (1, 2, 3)
        ]
        outbox.acknowledge("cloud", 1, 3, letters)
        outbox.commit(Commit(outbox.ledger().samples))
    result = gateway.run("dead", "-n", 2)
    assert result.stdout == (
        "line 2 to cloud, too large\n  no\\x1b[2J to 2\n  a v=2i\n\n"
        "line 3 to cloud, too large\n  no\\x1b[2J to 3\n  a v=3i\n"
    )
    assert result.stderr == "the newest 2 of 3; -n 3 shows all\n"
    rows = json.loads(gateway.run("dead", "--json", "--sink", "cloud").stdout)
    assert [row["line_id"] for row in rows] == [1, 2, 3]
    assert list(rows[0]) == ["sink", "line_id", "cause", "reason", "line"]
    unknown = gateway.run("dead", "--sink", "clod")
    assert unknown.exit_code == 2
    assert "the outbox knows cloud" in unknown.stderr
