"""`POST /api/v2/write` as InfluxDB OSS 2 answers it, and `/ping`.

Enters: line protocol. Leaves: 204 once every line is on disk. Fails: 400 when a line cannot be
read (nothing is written), 401, 403, 404 for another organisation or bucket, 413, 422 when fields
change their type (the other points are written, as InfluxDB does), 503 with Retry-After when too
much waits for the disk.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from agent.outbox.intervals import Interval
from cloud import VERSION
from cloud.access import Identity, require
from cloud.errors import LineError, Refusal
from cloud.ingest.body import read_body
from cloud.ingest.line_protocol import NS_PER_UNIT, Parsed, parse
from cloud.settings import Settings
from cloud.store.transaction import Committed, Write

router = APIRouter(tags=["write"])

PARSE_HERE_BYTES_MAX = 32_768  # larger bodies are parsed in a thread, to keep the board answering
LINE_ID_MAX = 2**63 - 1
_IDS = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


@router.post("/api/v2/write", status_code=204)
async def write(request: Request) -> Response:
    """Write line protocol; answered after it is on disk."""
    identity = require(request, "write")
    settings: Settings = request.app.state.settings
    _check_target(request, identity, settings)
    precision = request.query_params.get("precision") or "ns"
    if precision not in NS_PER_UNIT:
        raise Refusal(
            400,
            "invalid",
            f"invalid precision {precision[:20]!r}; valid precision units are ns, us, ms, and s",
        )
    outbox, void = _outbox(request), _void(request)
    body = await read_body(request, settings.body_bytes_max)
    parsed = await _parse(body, precision, settings)
    if parsed.lines:
        done = await _commit(request, Write(parsed, len(body), outbox, void))
        if done.dropped:
            raise Refusal(422, "unprocessable entity", _partial(done))
    return Response(status_code=204)


@router.api_route("/ping", methods=["GET", "HEAD"], status_code=204)
async def ping() -> Response:
    """Whether the server answers."""
    headers = {"X-Influxdb-Build": "andon", "X-Influxdb-Version": f"andon-{VERSION}"}
    return Response(status_code=204, headers=headers)


def _check_target(request: Request, identity: Identity, settings: Settings) -> None:
    org = request.query_params.get("org") or request.query_params.get("orgID")
    bucket = request.query_params.get("bucket")
    if not bucket:
        raise Refusal(400, "invalid", "the parameter bucket is missing")
    if org is not None and org != settings.org:
        raise Refusal(404, "not found", f'organization name "{org[:80]}" not found')
    if bucket != settings.bucket:
        raise Refusal(404, "not found", f'bucket "{bucket[:80]}" not found')
    if (identity.org, identity.bucket) != (settings.org, bucket):
        raise Refusal(403, "forbidden", f"insufficient permissions for write to {bucket}")


def _outbox(request: Request) -> tuple[str, Sequence[Interval]] | None:
    uuid, lines = request.headers.get("x-andon-outbox"), request.headers.get("x-andon-lines")
    if uuid is None and lines is None:
        return None
    ids = _intervals(lines or "")
    try:
        outbox = str(UUID(uuid))
    except (ValueError, TypeError):
        raise Refusal(
            400, "invalid", f"X-Andon-Outbox is {(uuid or '')[:60]!r}; it must be a uuid"
        ) from None
    if ids is None:
        raise Refusal(
            400,
            "invalid",
            f"X-Andon-Lines is {(lines or '')[:60]!r}; it must be first-last, counted from 1, "
            "or several of these with commas between",
        )
    return outbox, ids


def _void(request: Request) -> list[Interval]:
    """Ids that will never come."""
    header = request.headers.get("x-andon-void")
    if header is None:
        return []
    told = _intervals(header)
    if told is None:
        raise Refusal(
            400,
            "invalid",
            f"X-Andon-Void is {header[:60]!r}; it must be first-last,first-last,... counted from 1",
        )
    if "x-andon-outbox" not in request.headers:
        raise Refusal(400, "invalid", "X-Andon-Void needs X-Andon-Outbox and X-Andon-Lines")
    return told


def _intervals(text: str) -> list[Interval] | None:
    """The intervals of a header, None where one is wrong; its size bounds how many they are."""
    found = []
    for part in text.split(","):
        match = _IDS.fullmatch(part.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]) <= LINE_ID_MAX:
            return None
        found.append((int(match[1]), int(match[2])))
    return found


async def _parse(body: bytes, precision: str, settings: Settings) -> Parsed:
    work = partial(
        parse,
        body,
        precision=precision,
        now_ns=time.time_ns(),
        line_bytes_max=settings.line_bytes_max,
    )
    try:
        return work() if len(body) <= PARSE_HERE_BYTES_MAX else await asyncio.to_thread(work)
    except LineError as error:
        raise Refusal(400, "invalid", f"{error} (line {error.line_number})") from None


async def _commit(request: Request, write: Write) -> Committed:
    write.answer = answer = asyncio.get_running_loop().create_future()
    request.app.state.store.submit(write)
    done: Committed = await answer
    if done.error is not None:
        raise done.error
    return done


def _partial(done: Committed) -> str:
    return (
        "failure writing points to database: partial write: "
        + "; ".join(done.conflicts)
        + f" dropped={done.dropped}"
    )
