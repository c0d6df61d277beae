"""The board: states, order, revisions, and the same board after a restart."""

import json
from typing import Any

import pytest

from cloud.ingest.line_protocol import parse, rows
from cloud.live.snapshot import Event, Snapshot
from cloud.live.stream import Hub
from cloud.settings import load
from cloud.store.tables import LiveRow
from tests.cloud import lines
from tests.cloud.server import RunningCloud

NOW_S = 1_767_225_600
SECOND_NS = lines.SECOND_NS
NOW_NS = NOW_S * SECOND_NS


class Board:
    """A board with a clock of its own."""

    def __init__(self, **limits: int) -> None:
        self.now_ns = NOW_NS
        self.snapshot = Snapshot(load(**limits), now_ns=lambda: self.now_ns)

    def take(self, *written: str) -> list[Event]:
        return self.snapshot.apply(self.rows(*written))

    def rows(self, *written: str) -> list[LiveRow]:
        parsed = parse("\n".join(written).encode(), now_ns=0, line_bytes_max=10_000)
        return [
            LiveRow(columns.measurement, tags, time_ns, fields)
            for columns in parsed.columns
            for tags, time_ns, fields in rows(columns)
        ]

    def line(self, name: str = "line-1", recent: int = 0) -> dict[str, Any]:
        board = json.loads(self.snapshot.board(recent))
        [line] = [one for one in board["lines"] if one["path"]["line"] == name]
        return dict(line)

    def signal(self, recent: int = 0) -> dict[str, Any]:
        return dict(self.line(recent=recent)["machines"][0]["signals"][0])


def at(seconds: float) -> int:
    return NOW_NS + round(seconds * SECOND_NS)


def test_a_window_is_shown_with_the_names_of_the_contract() -> None:
    board = Board()
    board.take(lines.window(at(-1), 2.5))
    shown = board.line()
    assert shown["path"] == {
        "enterprise": "acme",
        "site": "guiyang",
        "area": "assembly",
        "line": "line-1",
    }
    signal = shown["machines"][0]["signals"][0]
    assert signal["every"] == "1s"
    assert signal["window"] == {
        "time_ns": at(-1),
        "n": 10,
        "good": 1.0,
        "mean": 2.5,
        "std": 0.5,
        "min": 1.5,
        "max": 3.5,
        "first": 2.5,
        "last": 2.5,
        "increase": None,
        "rev": 0,
    }
    assert "recent" not in signal


def test_machines_stand_in_flow_order_then_by_name() -> None:
    board = Board()
    for name, order in (("z", "order_in_line=1i"), ("a", "order_in_line=2i"), ("b", 'model="M"')):
        board.take(f"machine,{lines.path(machine=name)} {order} 1")
    board.take(f'machine,{lines.path(machine="aa")} model="M" 1')
    assert [one["machine"] for one in board.line()["machines"]] == ["z", "a", "aa", "b"]


@pytest.mark.parametrize("seconds", [-1, -2])
def test_a_lower_revision_and_a_repeat_change_nothing_and_are_not_told(seconds: int) -> None:
    board = Board()
    board.take(lines.window(at(-2), 5.0, rev=1), lines.window(at(-1), 5.0, rev=1))
    assert board.take(lines.window(at(seconds), 9.0, rev=0)) == []
    assert board.take(lines.window(at(seconds), 5.0, rev=1)) == []
    assert board.signal()["window"]["mean"] == 5.0
    assert [row[1] for row in board.signal(recent=2)["recent"]] == [5.0, 5.0]


@pytest.mark.parametrize("rev", [1, 2])
def test_of_equal_revisions_the_newest_counts_and_a_higher_one_always(rev: int) -> None:
    board = Board()
    board.take(lines.window(at(-2), 5.0, rev=1), lines.window(at(-1), 5.0, rev=1))
    for seconds in (-2, -1):
        [event] = board.take(lines.window(at(seconds), 2.0, rev=rev))
        assert event.name == "windows"
    assert board.signal()["window"]["mean"] == 2.0
    assert [row[1] for row in board.signal(recent=2)["recent"]] == [2.0, 2.0]


def test_of_equal_revisions_a_field_that_no_chart_shows_counts_too() -> None:
    board = Board()
    board.take(lines.window(at(-1)))
    [event] = board.take(lines.window(at(-1)).replace("n=10i", "n=11i"))
    assert (event.data[0]["window"]["n"], board.signal()["window"]["n"]) == (11, 11)


def test_a_line_from_before_an_anomalys_end_that_comes_after_it_changes_nothing() -> None:
    board = Board()
    board.take(lines.anomaly(at(-9), f'severity="alarm",message="was high",ended_ns={at(-1)}i'))
    assert board.take(lines.anomaly(at(-9), 'severity="warning",message="high"')) == []
    [shown] = board.line()["anomalies"]
    assert (shown["severity"], shown["message"]) == ("alarm", "was high")


def test_lines_are_missing_when_two_reports_in_a_row_lack_more_than_wait_at_the_gateway() -> None:
    board = Board()

    def missing(seconds: int, holes: int, waiting: int) -> int:
        [row] = board.rows(lines.gateway(at(seconds), waiting=waiting))
        row.fields["missing"] = holes
        [event] = board.snapshot.apply([row])
        return int(event.data["missing"])

    told = [missing(-9 + n, *one) for n, one in enumerate([(3, 5), (9, 5), (7, 5), (7, 7), (8, 1)])]
    assert told == [0, 0, 2, 0, 0]


def test_a_late_window_joins_the_recent_ones_and_not_the_newest() -> None:
    board = Board()
    board.take(lines.window(at(-1), 3.0))
    board.take(lines.window(at(-3), 1.0))
    board.take(lines.window(at(-2), 2.0))
    shown = board.signal(recent=600)
    assert shown["window"]["mean"] == 3.0
    assert [(row[0], row[1]) for row in shown["recent"]] == [
        (at(-3), 1.0),
        (at(-2), 2.0),
        (at(-1), 3.0),
    ]
    assert len(board.signal(recent=2)["recent"]) == 2


def test_recent_windows_are_bounded() -> None:
    board = Board(recent_windows_max=5)
    board.take(*(lines.window(at(n), float(n)) for n in range(-20, 0)))
    assert [row[1] for row in board.signal(recent=600)["recent"]] == [-5.0, -4.0, -3.0, -2.0, -1.0]


def test_a_line_runs_until_its_newest_window_ended_15_seconds_ago() -> None:
    board = Board()
    board.take(lines.window(at(-1)))
    assert board.line()["state"] == "running"
    board.now_ns = at(14.9)
    assert board.line()["state"] == "running"
    board.now_ns = at(16)
    assert board.line()["state"] == "no_data"
    assert board.line()["machines"][0]["state"] == "no_data"


def test_a_long_window_counts_from_its_end() -> None:
    board = Board()
    board.take(lines.window(at(-20), every="10s"))
    assert board.line()["state"] == "running"


def test_the_worst_open_anomaly_gives_the_state_until_it_ends() -> None:
    board = Board()
    board.take(lines.window(at(-1)), lines.window(at(-1), machine="oven-01"))
    board.take(lines.anomaly(at(-9), 'id="w",severity="warning",score=0.5', machine="oven-01"))
    assert board.line()["state"] == "warning"
    board.take(lines.anomaly(at(-8), 'id="x",severity="alarm",score=0.9,message="high"'))
    shown = board.line()
    states = {one["machine"]: one["state"] for one in shown["machines"]}
    assert shown["state"] == "alarm"
    assert states == {"press-01": "alarm", "oven-01": "warning"}
    [event] = board.take(lines.anomaly(at(-8), f"ended_ns={at(-2)}i"))
    assert event.data["anomaly"]["message"] == "high"
    shown = board.line()
    assert shown["state"] == "warning"
    assert [one["id"] for one in shown["anomalies"]] == ["w", "x"]


def test_ended_anomalies_are_bounded_and_the_last_ended_come_first() -> None:
    board = Board(anomalies_ended_max=3)
    for n in range(6):
        board.take(lines.anomaly(at(n), f'id="e{n}",ended_ns={at(100 - n)}i'))
    assert [one["id"] for one in board.line()["anomalies"]] == ["e0", "e1", "e2"]


def test_contributors_are_read_from_their_json() -> None:
    board = Board()
    board.take(lines.anomaly(at(-2), r'contributors="[{\"signal\":\"speed\"}]"'))
    board.take(lines.anomaly(at(-1), 'contributors="no json"'))
    found = [one["contributors"] for one in board.line()["anomalies"]]
    assert found == [None, [{"signal": "speed"}]]


@pytest.mark.parametrize("said", ["[NaN]", "[1e999]", r"[\"\\ud800\"]", "[" * 2_000 + "]" * 2_000])
def test_contributors_that_json_cannot_carry_on_leave_the_board_readable(said: str) -> None:
    board = Board()
    board.take(lines.window(at(-1)))
    [event] = board.take(lines.anomaly(at(-1), f'contributors="{said}"'))
    Hub(load()).publish([event])
    assert board.line()["anomalies"][0]["contributors"] is None


def test_the_finest_windows_are_shown_until_they_stop() -> None:
    board = Board()
    board.take(lines.window(at(0), 1.0, every="1s"))
    board.take(lines.window(at(-5), 2.0, every="10s"))
    assert board.signal()["every"] == "1s"
    board.take(lines.window(at(10), 3.0, every="10s"))
    assert (board.signal()["every"], board.signal()["window"]["mean"]) == ("10s", 3.0)
    board.take(lines.window(at(5), 9.0, every="1s"))
    assert board.signal()["every"] == "10s"
    board.take(lines.window(at(12), 4.0, every="1s"))
    assert (board.signal()["every"], board.signal()["window"]["mean"]) == ("1s", 4.0)


def test_new_metadata_is_told_once_and_old_metadata_is_not_taken_back() -> None:
    board = Board()
    written = f'signal,{lines.path()},signal=ram_force kind="analog",unit="kN",high=2400 20'
    assert [event.name for event in board.take(written)] == ["board"]
    assert board.take(written) == []
    assert board.take(written.replace("kN", "N")[:-2] + "10") == []
    shown = board.signal()
    assert (shown["kind"], shown["unit"], shown["high"], shown["low"]) == (
        "analog",
        "kN",
        2400.0,
        None,
    )


def test_only_the_newest_text_is_shown() -> None:
    board = Board()
    board.take(lines.text(at(-2), "unit 7"))
    [event] = board.take(lines.text(at(-1), "unit 8"))
    assert (event.name, event.data["text"]["text"]) == ("text", "unit 8")
    assert board.take(lines.text(at(-3), "unit 6")) == []
    assert board.signal()["text"] == {"time_ns": at(-1), "text": "unit 8"}


def test_windows_of_one_commit_are_told_in_one_message() -> None:
    board = Board()
    board.take(lines.window(at(-3)), lines.window(at(-3), machine="oven-01"))
    events = board.take(*(lines.window(at(-n)) for n in (2, 1)), lines.gateway(at(0)))
    assert sorted(event.name for event in events) == ["gateway", "windows"]
    assert [len(event.data) for event in events if event.name == "windows"] == [2]


def test_beyond_the_limit_new_signals_are_not_shown() -> None:
    board = Board(board_entries_max=4)  # a line, a machine and two signals
    board.take(*(lines.window(at(-1), signal=name) for name in ("a", "b", "c")))
    assert [one["signal"] for one in board.line()["machines"][0]["signals"]] == ["a", "b"]


def test_a_clock_that_ran_ahead_does_not_hide_what_comes_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Board()
    year_ns = 365 * 86_400 * SECOND_NS
    assert board.take(lines.window(NOW_NS + year_ns, 9.0), lines.gateway(NOW_NS + year_ns, 9)) == []
    board.take(lines.window(at(-1), 1.0), lines.gateway(NOW_NS, 1))
    assert board.signal()["window"]["mean"] == 1.0
    assert [one["received"] for one in board.snapshot.gateways().values()] == [1]
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "'acme/guiyang/assembly/line-1/press-01' sends times ahead of ours"
    ]


def test_unchanged_bytes_are_kept_and_a_change_gives_new_ones() -> None:
    board = Board()
    board.take(lines.window(at(-1)))
    first, tag = board.snapshot.tagged()
    assert board.snapshot.tagged()[0] is first
    board.now_ns = at(1)
    assert board.snapshot.tagged()[1] == tag
    board.take(lines.window(at(0)))
    assert board.snapshot.tagged()[1] != tag


def test_an_unchanged_board_is_answered_304(cloud: RunningCloud) -> None:
    cloud.write(lines.window(1_000))
    first = cloud.read("/v1/board")
    headers = {"Authorization": f"Token {cloud.read_token}", "If-None-Match": first.headers["ETag"]}
    again = cloud.client.get(f"{cloud.url}/v1/board", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    cloud.write(lines.window(2_000 * SECOND_NS))
    assert cloud.client.get(f"{cloud.url}/v1/board", headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["Bearer", "Token"])
def test_both_forms_of_authorization_read_the_board(cloud: RunningCloud, kind: str) -> None:
    headers = {"Authorization": f"{kind} {cloud.read_token}"}
    assert cloud.client.get(f"{cloud.url}/v1/board", headers=headers).status_code == 200
