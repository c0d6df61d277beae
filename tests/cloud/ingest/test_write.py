"""The write endpoint answers as InfluxDB OSS 2 does, and keeps what it answered for."""

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import httpx
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from agent.lines.encode import state_line
from agent.signals import Path as AgentPath
from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud, until

START_NS = 1_700_000_000 * lines.SECOND_NS


def means(cloud: RunningCloud, line: str) -> list[float]:
    found: list[float] = cloud.get("/v1/windows", line=line)["windows"]["mean"]
    return found


def account(cloud: RunningCloud, outbox: str) -> Any:
    """What the cloud says of one outbox; None where it never heard of it."""
    found = cloud.get("/v1/gateways", outbox=outbox)["gateways"]
    return found[0] if found else None


def error(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["message"]


def test_a_written_window_is_there_when_204_is_answered(cloud: RunningCloud) -> None:
    assert cloud.write(lines.window(START_NS, 2.5, line="w1")).status_code == 204
    assert means(cloud, "w1") == [2.5]


def test_the_influxdb_client_writes_and_finds_the_server_healthy(cloud: RunningCloud) -> None:
    with InfluxDBClient(cloud.url, cloud.write_token, org="andon", enable_gzip=True) as client:
        assert client.ping()
        tags = dict.fromkeys(["enterprise", "site", "area", "line", "machine", "signal"], "client")
        fields = {"value": 4.25, "status": 0}
        point = {"measurement": "sample", "tags": tags, "fields": fields, "time": START_NS}
        client.write_api(SYNCHRONOUS).write("andon", record=point)
    found = cloud.get("/v1/samples", line="client")["samples"]
    assert (found["value"], found["status"], found["time_ns"]) == ([4.25], [0], [START_NS])


def test_a_wrong_token_reaches_the_influxdb_client_as_401(cloud: RunningCloud) -> None:
    with (
        InfluxDBClient(cloud.url, "wrong", org="andon") as client,
        pytest.raises(ApiException) as caught,
    ):
        client.write_api(SYNCHRONOUS).write("andon", record="m f=1")
    assert caught.value.status == 401


def test_a_malformed_line_is_named_and_nothing_is_written(cloud: RunningCloud) -> None:
    body = f"{lines.window(START_NS, line='bad')}\nwindow,line=bad mean=oops\n"
    status, code, message = error(cloud.write(body))
    assert (status, code) == (400, "invalid")
    assert message.startswith("unable to parse 'window,line=bad mean=oops': ")
    assert "line 2" in message
    assert means(cloud, "bad") == []


def test_a_field_of_another_type_is_named_and_the_other_points_are_written(
    cloud: RunningCloud,
) -> None:
    good = lines.window(START_NS, 1.5, line="mixed")
    bad = lines.window(START_NS + 1, 2.5, line="mixed").replace("mean=2.5", 'mean="high"')
    later = lines.window(START_NS + 2, 3.5, line="mixed")
    status, code, message = error(cloud.write("\n".join([good, bad, later])))
    assert (status, code) == (422, "unprocessable entity")
    assert 'input field "mean" on measurement "window" is type string' in message
    assert "already exists as type float" in message
    assert "line 2" in message
    assert message.endswith("dropped=1")
    assert means(cloud, "mixed") == [1.5, 3.5]


def test_two_types_of_a_new_field_in_one_write_keep_the_first(cloud: RunningCloud) -> None:
    status, _, message = error(cloud.write('fresh,a=1 f=1 1\nfresh,a=2 f="x" 2'))
    assert status == 422
    assert "is type string, already exists as type float (line 2" in message


@pytest.mark.parametrize("authorization", [None, "Token wrong", "Basic abc", "Token"])
def test_without_a_valid_token_nothing_can_be_written(
    cloud: RunningCloud, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    url = f"{cloud.url}/api/v2/write?org=andon&bucket=andon"
    answer = cloud.client.post(url, content="m f=1", headers=headers)
    assert error(answer) == (401, "unauthorized", "unauthorized access")


def test_a_read_token_may_not_write(cloud: RunningCloud) -> None:
    status, code, message = error(cloud.write("m f=1", token=cloud.read_token))
    assert (status, code) == (403, "forbidden")
    assert "may only read" in message


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("org=andon&bucket=other", 404, 'bucket "other" not found'),
        ("org=other&bucket=andon", 404, 'organization name "other" not found'),
        ("org=andon", 400, "bucket is missing"),
        ("org=andon&bucket=andon&precision=h", 400, "invalid precision 'h'"),
    ],
)
def test_a_target_that_does_not_exist_is_named(
    cloud: RunningCloud, query: str, status: int, message: str
) -> None:
    headers = {"Authorization": f"Token {cloud.write_token}"}
    answer = cloud.client.post(
        f"{cloud.url}/api/v2/write?{query}", content="m f=1", headers=headers
    )
    assert answer.status_code == status
    assert message in answer.json()["message"]


@pytest.mark.parametrize("precision", ["us", "ms", "s"])
def test_precision_scales_the_written_times(cloud: RunningCloud, precision: str) -> None:
    factor = {"us": 10**3, "ms": 10**6, "s": 10**9}[precision]
    line = lines.window(START_NS // factor, line=f"in-{precision}")
    assert cloud.write(line, precision=precision).status_code == 204
    assert cloud.get("/v1/windows", line=f"in-{precision}")["windows"]["time_ns"] == [START_NS]


def test_an_empty_body_is_fine(cloud: RunningCloud) -> None:
    assert cloud.write("\n# nothing\n").status_code == 204


def test_a_body_beyond_the_limit_is_refused_also_when_it_hides_in_gzip(tmp_path: Path) -> None:
    with running_cloud(tmp_path, body_bytes_max="2000") as cloud:
        plain = {"Authorization": f"Token {cloud.write_token}"}
        url = f"{cloud.url}/api/v2/write?org=andon&bucket=andon"
        small, large = "m f=1 1\n" * 100, "m f=1 1\n" * 100_000
        assert cloud.client.post(url, content=small, headers=plain).status_code == 204
        for content, headers in [
            (large.encode(), plain),
            (gzip.compress(large.encode()), {**plain, "Content-Encoding": "gzip"}),
            (gzip.compress(small.encode()) * 3, {**plain, "Content-Encoding": "gzip"}),
        ]:
            answer = cloud.client.post(url, content=content, headers=headers)
            assert error(answer)[:2] == (413, "request too large")
        chunks = (b"m f=1 1\n" * 100 for _ in range(10))
        assert cloud.client.post(url, content=chunks, headers=plain).status_code == 413


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"m f=1 1")[:-6]], ids=["none", "cut short"]
)
def test_broken_gzip_is_refused(cloud: RunningCloud, body: bytes) -> None:
    headers = {"Authorization": f"Token {cloud.write_token}", "Content-Encoding": "gzip"}
    url = f"{cloud.url}/api/v2/write?org=andon&bucket=andon"
    answer = cloud.client.post(url, content=body, headers=headers)
    assert error(answer)[:2] == (400, "invalid")


def test_broken_outbox_headers_are_refused(cloud: RunningCloud) -> None:
    uuid = "6f1b1a3e-5f50-4d9c-a9f7-0d5d1d0f6b11"
    for headers in (
        {"X_Andon_Outbox": "no uuid", "X_Andon_Lines": "1-2"},
        {"X_Andon_Outbox": uuid, "X_Andon_Lines": "2-1"},
        {"X_Andon_Outbox": uuid, "X_Andon_Lines": "0-1"},
        {"X_Andon_Outbox": uuid, "X_Andon_Lines": "1-2,"},
        {"X_Andon_Outbox": uuid, "X_Andon_Lines": "1-2,4"},
        {"X_Andon_Outbox": uuid},
        {"X_Andon_Lines": "1-2"},
        {"X_Andon_Void": "1-2"},
    ):
        assert cloud.write("m f=1 1", **headers).status_code == 400


@pytest.mark.parametrize(
    "void", ["", "3", "2-1", "0-1", "1-2;4-5", "1-2,", "1-99999999999999999999"]
)
def test_a_broken_void_header_is_named_and_nothing_is_written(
    cloud: RunningCloud, void: str
) -> None:
    uuid = str(uuid4())
    headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": "1-1", "X_Andon_Void": void}
    status, code, message = error(cloud.write("m f=1 1", **headers))
    assert (status, code) == (400, "invalid")
    assert message.startswith(f"X-Andon-Void is {void!r}")
    assert account(cloud, uuid) is None


def test_ids_told_void_are_no_holes(cloud: RunningCloud) -> None:
    uuid = str(uuid4())
    for written, void in (("1-2", "3-4"), ("7-8", "5-5, 10-10")):
        headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": written, "X_Andon_Void": void}
        body = "\n".join(lines.window(START_NS + n, line="void") for n in range(2))
        assert cloud.write(body, **headers).status_code == 204
    found = account(cloud, uuid)
    assert found["received"] == [[1, 2], [7, 8]]
    assert (found["void"], found["void_total"]) == ([[3, 5], [10, 10]], 4)
    assert (found["holes"], found["repeats"]) == ([[6, 6], [9, 9]], 0)


def test_a_line_left_out_of_a_write_has_not_been_received(cloud: RunningCloud) -> None:
    uuid = str(uuid4())
    written = [lines.window(START_NS + n, line="left-out") for n in range(4)]
    written[2] = written[2].replace("mean=1.5", 'mean="high"')
    headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": "11-14"}
    assert cloud.write("\n".join(written), **headers).status_code == 422
    found = account(cloud, uuid)
    assert found["received"] == [[11, 12], [14, 14]]
    headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": "15-15", "X_Andon_Void": "13-13"}
    assert cloud.write(lines.window(START_NS, line="left-out"), **headers).status_code == 204
    assert account(cloud, uuid)["holes"] == [[1, 10]]


def test_lines_of_several_runs_are_counted_each_by_its_id(cloud: RunningCloud) -> None:
    uuid = str(uuid4())
    written = [lines.window(START_NS + n, line="runs") for n in range(5)]
    headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": "2-3,7-8, 12-12"}
    assert cloud.write("\n".join(written), **headers).status_code == 204
    assert account(cloud, uuid)["received"] == [[2, 3], [7, 8], [12, 12]]
    assert cloud.write("\n".join(written), **headers).status_code == 204
    assert account(cloud, uuid)["repeats"] == 5
    for place in (2, 4):
        written[place] = written[place].replace("mean=1.5", 'mean="high"')
    headers["X_Andon_Lines"] = "22-23,27-28,32-32"
    assert cloud.write("\n".join(written), **headers).status_code == 422
    assert account(cloud, uuid)["received"][3:] == [[22, 23], [28, 28]]


def test_concurrent_writers_find_their_lines_as_soon_as_they_are_answered(
    cloud: RunningCloud,
) -> None:
    barrier = threading.Barrier(6)

    def send(writer: int) -> None:
        barrier.wait()
        for number in range(8):
            line = lines.window(START_NS + number, float(number), line=f"writer-{writer}")
            assert cloud.write(line).status_code == 204
            assert len(means(cloud, f"writer-{writer}")) == number + 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(6)))
    for writer in range(6):
        assert means(cloud, f"writer-{writer}") == [float(number) for number in range(8)]


def test_sending_again_duplicates_nothing_and_tells_the_repeat(cloud: RunningCloud) -> None:
    uuid = "0d1e5a52-3a86-4a6f-8e6a-7f2b8b9c1d10"
    body = "\n".join(lines.window(START_NS + n, float(n), line="again") for n in range(5))
    for interval in ("1-5", "1-5", "9-12"):
        headers = {"X_Andon_Outbox": uuid, "X_Andon_Lines": interval}
        assert cloud.write(body, **headers).status_code == 204
    assert means(cloud, "again") == [0.0, 1.0, 2.0, 3.0, 4.0]
    found = account(cloud, uuid)
    assert found["received"] == [[1, 5], [9, 12]]
    assert found["holes"] == [[6, 8]]
    assert found["repeats"] == 5


def test_of_two_revisions_the_higher_counts_whatever_comes_last(cloud: RunningCloud) -> None:
    revisions = ((0, 1.0), (2, 9.0), (2, 3.0), (1, 2.0))
    in_turn = [lines.window(START_NS, mean, line="revised", rev=rev) for rev, mean in revisions]
    at_once = [lines.window(START_NS, mean, line="at-once", rev=rev) for rev, mean in revisions]
    for body in (*in_turn, "\n".join(at_once)):
        assert cloud.write(body).status_code == 204
    for name in ("revised", "at-once"):
        found = cloud.get("/v1/windows", line=name)["windows"]
        assert (found["mean"], found["rev"]) == ([3.0], [2])
        board = cloud.get("/v1/board", recent=60)["lines"]
        [line] = [one for one in board if one["path"]["line"] == name]
        signal = line["machines"][0]["signals"][0]
        assert (signal["window"]["mean"], signal["window"]["rev"]) == (3.0, 2)
        assert [row[1] for row in signal["recent"]] == [3.0]


def test_a_full_queue_answers_503_and_when_to_come_back(tmp_path: Path) -> None:
    with running_cloud(tmp_path, queue_writes_max="1") as cloud:
        body = "\n".join(lines.window(START_NS + n) for n in range(500))

        def refused() -> list[httpx.Response]:
            answers = pool.map(lambda _: cloud.write(body), range(12))
            return [answer for answer in answers if answer.status_code != 204]

        with ThreadPoolExecutor(12) as pool:
            answers = until(refused)
        assert {error(answer)[:2] for answer in answers} == {(503, "unavailable")}
        assert int(answers[0].headers["Retry-After"]) >= 1
        assert cloud.write(body).status_code == 204


def test_fields_and_tags_outside_the_contract_are_kept(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as cloud:
        strange = lines.window(START_NS, line="strange").replace("n=10i", "n=10i,extra=7i")
        tagged = lines.window(START_NS, line="tagged").replace(" n=", ",shift=early n=")
        assert cloud.write(f"{strange}\n{tagged}").status_code == 204
        assert means(cloud, "strange") == [1.5]
        assert means(cloud, "tagged") == []
        cloud.stop()
        with duckdb.connect(str(cloud.data / "andon.duckdb"), read_only=True) as database:
            rows = database.execute('SELECT tags, field, "integer" FROM other').fetchall()
        assert ("extra", 7) in [(field, value) for _, field, value in rows]
        assert any(json.loads(tags).get("shift") == "early" for tags, _, _ in rows)


def test_states_of_machines_are_kept_as_the_agent_tells_them(tmp_path: Path) -> None:
    path = AgentPath("acme", "guiyang", "assembly", "line-1")
    told = [
        state_line(path, "press-01", START_NS, "Held", "no material", None),
        state_line(path, "press-01", START_NS, "Held", "no material", 2.5),
        state_line(path, "press-01", START_NS + lines.SECOND_NS, "Execute", "", None),
    ]
    with running_cloud(tmp_path) as cloud:
        assert cloud.write(b"\n".join(told).decode()).status_code == 204
        cloud.stop()
        with duckdb.connect(str(cloud.data / "andon.duckdb"), read_only=True) as database:
            rows = database.execute(
                "SELECT machine, state, reason, duration_s FROM state ORDER BY time_ns, duration_s"
            ).fetchall()
            (others,) = database.execute("SELECT count(*) FROM other").fetchall()
    assert rows == [
        ("press-01", "Held", "no material", 2.5),
        ("press-01", "Held", "no material", None),
        ("press-01", "Execute", "", None),
    ]
    assert others == (0,)


def test_a_large_write_is_visible_on_the_board_at_once(cloud: RunningCloud) -> None:
    now_ns = time.time_ns()
    body = "\n".join(
        lines.window(now_ns, float(n), line="fast", signal=f"s{n}") for n in range(500)
    )
    assert cloud.write(body).status_code == 204
    [line] = [one for one in cloud.get("/v1/board")["lines"] if one["path"]["line"] == "fast"]
    assert len(line["machines"][0]["signals"]) == 500
