"""Reads of what is kept: ranges, filters, pages, and clear answers to wrong questions."""

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cloud.access.credentials import Credentials
from cloud.app import create_app
from cloud.settings import load
from cloud.store.store import Store
from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud

BASE_NS = 1_767_225_600 * lines.SECOND_NS  # 2026-01-01T00:00:00Z


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("history")) as running:
        fill(running)
        yield running


def fill(cloud: RunningCloud) -> None:
    body = [
        lines.window(BASE_NS + second * lines.SECOND_NS, float(second), line=line, signal=signal)
        for second in range(10)
        for line in ("line-1", "line-2")
        for signal in ("a", "b")
    ]
    body += [
        lines.anomaly(BASE_NS + n * lines.SECOND_NS, f'id="a{n}",severity="alarm",score=0.5')
        for n in range(5)
    ]
    body += [lines.anomaly(BASE_NS, f"ended_ns={BASE_NS + 1}i")]
    body += [lines.text(BASE_NS + n, f"unit {n}") for n in range(3)]
    body += [f"sample,{lines.path()},signal=force value=7.5,status=5i {BASE_NS}"]
    assert cloud.write("\n".join(body)).status_code == 204


def test_ranges_hold_their_start_and_not_their_end(cloud: RunningCloud) -> None:
    found = cloud.get(
        "/v1/windows",
        line="line-1",
        signal="a",
        from_="2026-01-01T00:00:02Z",
        to="2026-01-01T08:00:04.000000000+08:00",
    )["windows"]
    assert found["mean"] == [2.0, 3.0]


def test_fractions_of_a_range_count_to_the_nanosecond(cloud: RunningCloud) -> None:
    found = cloud.get("/v1/samples", signal="unit", from_="2026-01-01T00:00:00.000000001Z")
    assert found["samples"]["text"] == ["unit 1", "unit 2"]


def test_pages_hold_every_row_once_in_order(cloud: RunningCloud) -> None:
    rows: list[tuple[int, str, str]] = []
    cursor: dict[str, str] = {}
    for _ in range(20):
        page = cloud.get("/v1/windows", limit=7, **cursor)
        columns = page["windows"]
        rows += list(zip(columns["time_ns"], columns["line"], columns["signal"], strict=True))
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(rows) == 40
    assert rows == sorted(set(rows))


def test_anomalies_come_newest_first_and_page(cloud: RunningCloud) -> None:
    first = cloud.get("/v1/anomalies", limit=3)
    second = cloud.get("/v1/anomalies", limit=3, cursor=first["next"])
    ids = [one["id"] for one in first["anomalies"] + second["anomalies"]]
    assert ids == ["a4", "a3", "a2", "a1", "a0"]
    assert second["next"] is None


def test_an_anomaly_carries_its_path_and_the_names_of_the_board(cloud: RunningCloud) -> None:
    newest: dict[str, Any] = cloud.get("/v1/anomalies")["anomalies"][0]
    assert newest["line"] == "line-1"
    assert newest["start_ns"] == BASE_NS + 4 * lines.SECOND_NS
    assert newest["contributors"] is None


@pytest.mark.parametrize(("still_open", "ids"), [("true", 4), ("false", 1)])
def test_open_tells_open_from_ended(cloud: RunningCloud, still_open: str, ids: int) -> None:
    assert len(cloud.get("/v1/anomalies", open=still_open)["anomalies"]) == ids


def test_samples_carry_value_text_and_status(cloud: RunningCloud) -> None:
    found = cloud.get("/v1/samples", signal="force")["samples"]
    assert (found["value"], found["text"], found["status"]) == ([7.5], [None], [5])


def test_nothing_found_is_an_empty_page(cloud: RunningCloud) -> None:
    page = cloud.get("/v1/windows", line="none")
    assert page["next"] is None
    assert page["windows"]["mean"] == []


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("windows", "from=yesterday", "from is 'yesterday'"),
        ("windows", "from=2026-01-01T00:00:00", "with a zone"),
        ("windows", "to=2026-13-01T00:00:00Z", "to is "),
        ("windows", "machne=press-01", "machne"),
        ("windows", "limit=0", "limit"),
        ("windows", "limit=many", "limit"),
        ("windows", "cursor=abc", "cursor"),
        ("windows", "cursor=WzEsMl0", "cursor"),
        ("windows", "cursor=" + _cursor("[" * 10_000), "cursor"),
        ("windows", "cursor=" + _cursor('[1, "\\ud800"]'), "cursor"),
        ("anomalies", "open=maybe", "open"),
        ("samples", "every=1s", "every"),
        ("gateways", "outbox=7", "outbox"),
        ("gateways", "gateway=gw-1", "gateway"),
        ("board", "recent=601", "recent"),
        ("board", "recent=-1", "recent"),
        ("board", "recnt=1", "recnt"),
    ],
)
def test_a_wrong_question_is_answered_400_and_named(
    cloud: RunningCloud, path: str, query: str, named: str
) -> None:
    headers = {"Authorization": f"Bearer {cloud.read_token}"}
    answer = cloud.client.get(f"{cloud.url}/v1/{path}?{query}", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert problem["title"] == "Bad Request"
    assert named in problem["detail"]


@pytest.mark.parametrize(
    "path", ["anomalies", "windows", "samples", "gateways", "board", "stream", "openapi.json"]
)
def test_reads_need_a_token_or_a_session_and_not_a_write_token(
    cloud: RunningCloud, path: str
) -> None:
    url = f"{cloud.url}/v1/{path}"
    answer = cloud.client.get(url)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    headers = {"Authorization": f"Bearer {cloud.write_token}"}
    assert cloud.client.get(url, headers=headers).status_code == 403


def test_a_write_token_reads_the_account_of_the_outbox_it_names_and_no_more(
    cloud: RunningCloud,
) -> None:
    ours, other = (str(uuid4()) for _ in range(2))
    for uuid in (ours, other):
        assert cloud.write("m f=1", X_Andon_Outbox=uuid, X_Andon_Lines="1-1").status_code == 204
    headers = {"Authorization": f"Bearer {cloud.write_token}"}
    url = f"{cloud.url}/v1/gateways"
    answer = cloud.client.get(url, params={"outbox": ours.upper()}, headers=headers)
    assert [one["outbox"] for one in answer.json()["gateways"]] == [ours]
    unknown = cloud.client.get(url, params={"outbox": str(uuid4())}, headers=headers)
    assert unknown.json() == {"gateways": []}
    assert cloud.client.get(url, headers=headers).status_code == 403
    assert cloud.client.get(url, params={"outbox": ours}).status_code == 401


def test_an_outbox_tells_its_lag_and_its_gateway_accounts_for_itself(cloud: RunningCloud) -> None:
    uuid, now_ns = str(uuid4()), time.time_ns()
    body = "\n".join(
        [
            lines.window(now_ns - 70 * lines.SECOND_NS, every="10s"),
            lines.window(now_ns - 65 * lines.SECOND_NS, every="1s"),
            lines.window(now_ns + 900 * lines.SECOND_NS, line="ahead"),
            lines.gateway(now_ns, received=8, name="own-account", waiting=2),
        ]
    )
    assert cloud.write(body, X_Andon_Outbox=uuid, X_Andon_Lines="1-4").status_code == 204
    [found] = cloud.get("/v1/gateways", outbox=uuid)["gateways"]
    assert 60 <= found["lag"]["window_s"] < 64
    assert 0 <= found["lag"]["write_s"] < 4
    assert found["gateway"] == {
        "gateway": "own-account", "site": "guiyang", "area": "assembly", "seen_ns": now_ns,
        "outbox_bytes": 4096, "outbox_bytes_max": 1048576, "hours_left": 61.5, "oldest_s": 0.5,
        "lag_ms": 1.5, "clock_steps": 1, "certificate_days": 29, "version": "0.1.0", "signals": 12,
        "ledger": {
            "balanced": True,
            "samples": {"received": 8, "derived": 8, "filtered": 0, "dropped": 0, "pending": 0},
            "retimed": 3,
            "missed": 4,
            "recovered": 5,
            "lines": {
                "made": 11, "acknowledged": 5, "waiting": 2, "replaced": 1, "dead_letter": 1,
                "dropped": 2,
            },
            "withheld": 0,
        },
    }  # fmt: skip


def test_a_read_while_the_database_is_opened_anew_is_answered_503(tmp_path: Path) -> None:
    settings = load(data=tmp_path)
    store, credentials = Store(settings), Credentials(settings)
    made = credentials.create_first_tokens(None)
    assert made is not None
    app = create_app(settings, store, credentials)
    store._connection.close()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
            return await client.get("/v1/windows", headers={"Authorization": f"Bearer {made[1]}"})

    answer = asyncio.run(ask())
    store.close()
    credentials.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_gateways_of_one_name_in_two_plants_are_two(cloud: RunningCloud) -> None:
    uuids = ["11111111-3a86-4a6f-8e6a-7f2b8b9c1d10", "22222222-3a86-4a6f-8e6a-7f2b8b9c1d10"]
    for number, (uuid, site) in enumerate(zip(uuids, ("guiyang", "lyon"), strict=True)):
        line = lines.gateway(BASE_NS, received=number, name="twin").replace("guiyang", site)
        assert cloud.write(line, X_Andon_Outbox=uuid, X_Andon_Lines="1-1").status_code == 204
    assert cloud.write(lines.gateway(BASE_NS, name="silent")).status_code == 204
    found = {one["outbox"]: one["gateway"] for one in cloud.get("/v1/gateways")["gateways"]}
    assert [found[uuid]["site"] for uuid in uuids] == ["guiyang", "lyon"]
    received = [found[uuid]["ledger"]["samples"]["received"] for uuid in uuids]
    assert received == [0, 1]
    assert found[None]["gateway"] == "silent"


def test_the_api_describes_itself(cloud: RunningCloud) -> None:
    assert {"/v1/windows", "/api/v2/write"} <= cloud.get("/v1/openapi.json")["paths"].keys()


def test_what_is_not_there_is_a_problem_too(cloud: RunningCloud) -> None:
    answer = cloud.read("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not found")


@pytest.mark.parametrize(("path", "status"), [("/ping", 204), ("/health", 200)])
def test_ping_and_health_need_no_token(cloud: RunningCloud, path: str, status: int) -> None:
    answer = cloud.client.get(f"{cloud.url}{path}")
    assert answer.status_code == status
    assert path == "/ping" or answer.json()["status"] == "pass"
    assert path == "/health" or answer.headers["X-Influxdb-Version"].startswith("andon-")
