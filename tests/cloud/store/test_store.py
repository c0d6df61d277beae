"""The store by itself: group commit, conflicts inside a group, refusals that spoil nobody else."""

import resource
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from cloud.errors import DataFolderError, QueueFullError, StoreError
from cloud.ingest.line_protocol import parse
from cloud.settings import Settings, load
from cloud.store.sql import blocks
from cloud.store.store import Store
from cloud.store.transaction import Committed, Write
from tests.cloud import lines
from tests.cloud.server import until


class Desk:
    """A store whose owner can be held after its first commit, so that writes pile up behind it."""

    def __init__(self, settings: Settings) -> None:
        self.groups: list[list[Committed]] = []
        self.go_on = threading.Event()
        self.store = Store(settings)
        self.store.listen(self._on_commit)

    def write(
        self,
        body: str,
        outbox: tuple[str, int, int] | None = None,
        void: Sequence[tuple[int, int]] = (),
    ) -> None:
        parsed = parse(body.encode(), now_ns=0, line_bytes_max=10_000)
        named = outbox and (outbox[0], [outbox[1:]])
        self.store.submit(Write(parsed, len(body), named, void))

    def hold(self) -> None:
        self.write("hold f=1 1")
        until(lambda: self.groups)

    def _on_commit(self, committed: list[Committed]) -> None:
        self.groups.append(committed)
        self.go_on.wait(10)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(load(data=tmp_path, queue_writes_max=50, queue_bytes_max=100_000))
    yield desk
    desk.go_on.set()
    desk.store.close()


def mean_rows(store: Store) -> list[float]:
    nothing = dict.fromkeys(
        [
            "from_ns",
            "to_ns",
            "site",
            "area",
            "line",
            "machine",
            "signal",
            "every",
            "after_ns",
            "after_identity",
        ]
    )
    return [row["mean"] for row in store.read("windows", **nothing, rows=100)]


def test_writes_that_wait_share_one_commit_and_keep_their_order(desk: Desk) -> None:
    desk.hold()
    for number in range(20):
        desk.write(lines.window(number, float(number)))
    desk.go_on.set()
    until(lambda: len(desk.groups) == 2)
    assert len(desk.groups[1]) == 20
    assert mean_rows(desk.store) == [float(number) for number in range(20)]
    assert [done.live[0].time_ns for done in desk.groups[1]] == list(range(20))


def test_a_type_first_seen_in_the_same_group_binds_the_writes_behind_it(desk: Desk) -> None:
    desk.hold()
    desk.write("weather temperature=1 1")
    desk.write('weather temperature="warm" 2')
    desk.go_on.set()
    until(lambda: len(desk.groups) == 2)
    assert [done.dropped for done in desk.groups[1]] == [0, 1]


def test_a_write_the_database_refuses_spoils_no_other(desk: Desk) -> None:
    desk.hold()
    desk.write(lines.window(1, 1.0))
    # A fault planted behind the parser: a time that no column can hold.
    parsed = parse(lines.window(2, 2.0).encode(), now_ns=0, line_bytes_max=10_000)
    parsed.columns[0].time_ns[0] = 2**70
    desk.store.submit(Write(parsed))
    desk.write(lines.window(3, 3.0))
    desk.go_on.set()
    until(lambda: len(desk.groups) == 2)
    assert [done.error is None for done in desk.groups[1]] == [True, False, True]
    assert mean_rows(desk.store) == [1.0, 3.0]


def test_the_queue_is_bounded_by_writes_and_by_bytes(desk: Desk) -> None:
    desk.hold()
    desk.write(f'm f="{"x" * 9_000}" 1')
    for _ in range(10):
        desk.write(f'm f="{"x" * 9_000}" 1')
    with pytest.raises(QueueFullError):
        desk.write(f'm f="{"x" * 9_000}" 1')
    for _ in range(39):
        desk.write("m f=1 1")
    with pytest.raises(QueueFullError):
        desk.write("m f=1 1")


def test_what_waits_at_a_close_is_committed(tmp_path: Path) -> None:
    desk = Desk(load(data=tmp_path))
    desk.go_on.set()
    for number in range(30):
        desk.write(lines.window(number, float(number)))
    desk.store.close()
    again = Store(load(data=tmp_path))
    assert len(mean_rows(again)) == 30
    again.close()


def test_a_repeat_of_received_lines_is_kept_from_the_board(desk: Desk) -> None:
    desk.go_on.set()
    for first, last in ((1, 2), (1, 2), (2, 3)):
        desk.write(lines.window(1), ("box", first, last))
    until(lambda: sum(map(len, desk.groups)) == 3)
    done = [one for group in desk.groups for one in group]
    assert [len(one.live) for one in done] == [1, 0, 1]
    assert desk.store.outboxes["box"].received == [(1, 3)]


def test_later_lines_add_fields_to_an_anomaly_and_leave_the_others(desk: Desk) -> None:
    desk.go_on.set()
    desk.write(lines.anomaly(5, 'id="a",severity="alarm",score=0.9,message="high"'))
    desk.write(lines.anomaly(5, "ended_ns=9i"))
    until(lambda: sum(map(len, desk.groups)) == 2)
    [row] = desk.store.read("live_anomalies", ended=5)
    assert (row["severity"], row["score"], row["ended_ns"]) == ("alarm", 0.9, 9)


def test_of_an_anomaly_the_lines_that_tell_its_end_count_whenever_they_came(desk: Desk) -> None:
    desk.go_on.set()
    desk.write(lines.anomaly(5, 'severity="alarm",score=0.9,message="was high",ended_ns=9i'))
    desk.write(lines.anomaly(5, 'id="a",severity="warning",score=0.5,message="high"'))
    until(lambda: sum(map(len, desk.groups)) == 2)
    [row] = desk.store.read("live_anomalies", ended=5)
    assert (row["id"], row["severity"], row["message"]) == ("a", "alarm", "was high")


def test_lines_not_received_before_reach_the_board_though_others_of_their_write_did(
    desk: Desk,
) -> None:
    desk.go_on.set()
    for number, (first, last, void) in enumerate([(1, 2, ((3, 4),)), (3, 4, ()), (3, 4, ())], 1):
        desk.write(lines.window(number), ("box", first, last), void)
    until(lambda: sum(map(len, desk.groups)) == 3)
    done = [one for group in desk.groups for one in group]
    assert [len(one.live) for one in done] == [1, 1, 0]


def test_a_database_of_the_first_version_opens_and_learns_the_later_columns(
    tmp_path: Path,
) -> None:
    with duckdb.connect(str(tmp_path / "andon.duckdb")) as old:
        for name in ("tables", "foreign_tables", "outbox_tables"):
            old.execute(blocks("schema.sql")[name])
        old.execute("INSERT INTO outbox VALUES ('box', '[[1, 5]]', 2, 0, NULL)")
    for void in ((7, 8), (9, 9)):
        desk = Desk(load(data=tmp_path))
        desk.go_on.set()
        desk.write(lines.gateway(1), ("box", 6, 6), (void,))
        desk.store.close()
    store = Store(load(data=tmp_path))
    known = store.outboxes["box"]
    [line] = store.read("live_gateways")
    store.close()
    assert (known.received, list(known.void), known.repeats) == ([(1, 6)], [(7, 9)], 3)
    assert (line["retimed"], line["missed"], line["recovered"]) == (3, 4, 5)
    assert line["hours_left"] == 61.5


def test_a_read_while_the_database_is_away_says_to_come_back(desk: Desk) -> None:
    desk.store._connection.close()
    with pytest.raises(StoreError, match="try again"):
        desk.store.read("outboxes")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "andon.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(DataFolderError, match="cannot be opened"):
        Store(load(data=tmp_path))


@pytest.mark.parametrize("file", ["schema.sql", "queries.sql"])
def test_every_block_of_sql_says_what_it_is_for(file: str) -> None:
    assert blocks(file)
    for name, text in blocks(file).items():
        assert text.startswith("-- "), name


def test_a_database_given_up_when_the_disk_was_full_is_opened_anew(
    desk: Desk, tmp_path: Path
) -> None:
    desk.go_on.set()
    desk.write(lines.window(1, 1.0))
    until(lambda: len(desk.groups) == 1)
    with files_of_at_most((tmp_path / "andon.duckdb").stat().st_size):
        # DuckDB does this by itself now and then; where it fails, it gives the database up.
        with pytest.raises(duckdb.Error):
            desk.store._connection.cursor().execute("FORCE CHECKPOINT")
        desk.write(lines.window(2, 2.0))
        until(lambda: len(desk.groups) == 2)
    desk.write(lines.window(3, 3.0))
    until(lambda: len(desk.groups) == 3)
    assert [group[0].error is not None for group in desk.groups] == [False, True, False]
    assert mean_rows(desk.store) == [1.0, 3.0]


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As on a full disk, no file of this process can grow beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
