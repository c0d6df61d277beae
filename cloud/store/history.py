"""Reading what is kept: `/v1/anomalies`, `/v1/windows`, `/v1/samples`, `/v1/gateways`.

Enters: filters, half-open `[from, to)` ranges in RFC 3339, opaque cursors. Leaves: pages of at
most `limit` rows; anomalies as objects (newest first), windows and samples as columns (oldest
first), with `next` for the next page. Fails: `Refusal` 400 for a parameter that is unknown or has
no valid value, 401, 403; 503 while the database is being opened anew.
"""

import asyncio
import base64
import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cloud.access import require
from cloud.errors import Refusal
from cloud.live.shape import Object, anomaly, gateway_account, path_object, path_of
from cloud.store.intervals import Received

router = APIRouter(tags=["history"])

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_CURSOR = re.compile(rb'\[-?[0-9]{1,19}, "(?:[^"\\]|\\.)*"\]')
_TIME_NS_RANGE = (-(2**63), 2**63 - 1)


class Filters(BaseModel):
    """What every question takes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str | None = Field(None, alias="from", description="RFC 3339, inclusive")
    end: str | None = Field(None, alias="to", description="RFC 3339, exclusive")
    site: str | None = None
    area: str | None = None
    line: str | None = None
    machine: str | None = None
    signal: str | None = None
    cursor: str | None = Field(None, description="`next` of the page before")
    limit: int = Field(1_000, ge=1, description="rows in a page")


class AnomalyFilters(Filters):
    """Anomalies; the range is over their start."""

    open: Literal["true", "false"] | None = None


class WindowFilters(Filters):
    """Windows; the range is over their start."""

    every: str | None = None


class GatewayFilters(BaseModel):
    """Gateways."""

    model_config = ConfigDict(extra="forbid")

    outbox: UUID | None = None


@router.get("/v1/anomalies")
async def anomalies(request: Request, ask: Annotated[AnomalyFilters, Query()]) -> dict[str, Any]:
    """Anomalies by their start, newest first."""
    still_open = None if ask.open is None else ask.open == "true"
    names, rows, following = await _page(request, "anomalies", ask, open=still_open)
    found = [dict(zip(names, row, strict=False)) for row in rows]
    shown = [{**path_object(path_of(row)), **anomaly(row, row["time_ns"], row)} for row in found]
    return {"anomalies": shown, "next": following}


@router.get("/v1/windows")
async def windows(request: Request, ask: Annotated[WindowFilters, Query()]) -> dict[str, Any]:
    """Newest revisions of windows, as columns, oldest first."""
    names, rows, following = await _page(request, "windows", ask, every=ask.every)
    return {"windows": _columns(names, rows), "next": following}


@router.get("/v1/samples")
async def samples(request: Request, ask: Annotated[Filters, Query()]) -> dict[str, Any]:
    """Samples, as columns, oldest first."""
    names, rows, following = await _page(request, "samples", ask)
    return {"samples": _columns(names, rows), "next": following}


@router.get("/v1/gateways")
async def gateways(request: Request, ask: Annotated[GatewayFilters, Query()]) -> dict[str, Any]:
    """What has been received from each outbox, and its gateway's own account.

    With `outbox` of that one alone, also with the write token that its gateway has: so it can prove
    what it sent.
    """
    state = request.app.state
    lines = state.snapshot.gateways()
    if ask.outbox is not None:
        require(request, "read", "write")
        known = state.store.outboxes.get(str(ask.outbox))
        rows = [_outbox(str(ask.outbox), known, lines)] if known else []
        return {"gateways": rows}
    require(request, "read")
    followed = sorted(state.store.outboxes.copy().items())
    silent = sorted(set(lines) - {known.gateway for _, known in followed})
    rows = [_outbox(outbox, known, lines) for outbox, known in followed]
    rows += [_outbox(None, Received(gateway=identity), lines) for identity in silent]
    return {"gateways": rows}


def _outbox(outbox: str | None, known: Received, lines: dict[str, Object]) -> Object:
    line = lines.get(known.gateway or "")
    return {
        "outbox": outbox,
        "received": known.received,
        "void": list(known.void),
        "void_total": known.void_total,
        "holes": known.holes,
        "holes_forgotten": known.holes_forgotten,
        "repeats": known.repeats,
        "lag": {"window_s": _age_s(known.window_end_ns), "write_s": _age_s(known.written_ns)},
        "gateway": gateway_account(line) if line else None,
    }


def _age_s(then_ns: int | None) -> float | None:
    return None if then_ns is None else round((time.time_ns() - then_ns) / 1e9, 3)


async def _page(
    request: Request, name: str, ask: Filters, **more: Any
) -> tuple[list[str], list[tuple[Any, ...]], str | None]:
    """Column names without the last, `identity`; rows with it; the cursor of the next page."""
    require(request, "read")
    state = request.app.state
    limit = min(ask.limit, state.settings.page_rows_max)
    after_ns, after_identity = _decode(ask.cursor)
    parameters = {
        "from_ns": time_ns("from", ask.start),
        "to_ns": time_ns("to", ask.end),
        **ask.model_dump(include={"site", "area", "line", "machine", "signal"}),
        "after_ns": after_ns,
        "after_identity": after_identity,
        "rows": limit + 1,
        **more,
    }
    async with state.reads:
        names, rows = await asyncio.to_thread(state.store.select, name, **parameters)
    following = None
    if len(rows) > limit:
        del rows[limit:]
        following = _encode(rows[-1][names.index("time_ns")], rows[-1][-1])
    return names[:-1], rows, following


def time_ns(name: str, text: str | None) -> int | None:
    """An RFC 3339 time with zone as UTC nanoseconds; None for None.

    Raises
    ------
    Refusal : 400, naming the parameter.

    """
    if text is None:
        return None
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat((match[1] + match[3]).upper())
        seconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError):
        raise Refusal(
            400,
            "invalid",
            f"{name} is {text[:60]!r}; it must be RFC 3339 with a zone: 2026-01-31T08:00:00Z",
        ) from None
    value = seconds * 10**9 + int((match[2] or "").ljust(9, "0"))
    return max(_TIME_NS_RANGE[0], min(_TIME_NS_RANGE[1], value))


def _columns(names: list[str], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _encode(after_ns: int, identity: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([after_ns, identity]).encode()).decode().rstrip("=")


def _decode(cursor: str | None) -> tuple[int | None, str | None]:
    if cursor is None:
        return None, None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        if not _CURSOR.fullmatch(text):
            raise ValueError("not of our form")
        after_ns, identity = json.loads(text)
        identity.encode()  # half a surrogate pair is no text to the database
        if abs(after_ns) >= 2**63:
            raise ValueError("no time has so many digits")
    except ValueError:
        raise Refusal(
            400, "invalid", "cursor is not one of ours; use `next` of the page before"
        ) from None
    return after_ns, identity
