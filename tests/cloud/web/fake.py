"""The cloud in memory, as the page sees it: a scripted snapshot and stream behind the real router.

`Plant` holds one line of the demo's machines; tests move it (`window`, `anomaly`, `end`, `silence`,
`cut`, `restore`) and the page follows as it would follow the real cloud.
"""

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse

from cloud import web

Json = dict[str, Any]

PATH = {"enterprise": "acme", "site": "guiyang", "area": "assembly", "line": "line-1"}
RECENT = 60
SECOND_NS = 1_000_000_000
START_SECONDS_MAX = 10.0
_TEXT = ("text", None, 0.0, 0.0)
# machine: signal: kind, unit, level, half width of its band
MACHINES: dict[str, dict[str, tuple[str, str | None, float, float]]] = {
    "press-01": {
        "ram_force": ("analog", "kN", 1187.0, 640.0),
        "oil_temperature": ("analog", "degC", 52.3, 0.4),
        "motor_power": ("analog", "kW", 18.6, 3.1),
        "strokes": ("counter", None, 18240.0, 1.0),
        "state": ("discrete", None, 6.0, 0.0),
        "unit": _TEXT,
    },
    "oven-01": {
        "zone_1_temperature": ("analog", "degC", 181.2, 0.6),
        "zone_2_temperature": ("analog", "degC", 214.8, 0.6),
        "zone_3_temperature": ("analog", "degC", 196.4, 0.6),
        "belt_speed": ("analog", "m/min", 1.84, 0.02),
        "unit": _TEXT,
    },
    "conveyor-01": {
        "speed": ("analog", "m/s", 0.412, 0.006),
        "motor_current": ("analog", "A", 3.27, 0.15),
        "vibration": ("analog", "mm/s", 1.12, 0.3),
        "unit": _TEXT,
    },
    "vision-01": {
        "deviation": ("analog", "mm", 0.004, 0.03),
        "brightness": ("analog", None, 128.0, 2.0),
        "verdict": _TEXT,
        "unit": _TEXT,
    },
    "meter-01": {
        "power": ("analog", "kW", 64.2, 4.0),
        "voltage": ("analog", "V", 401.3, 1.2),
        "energy": ("counter", "kWh", 8123.46, 0.0178),
    },
}


class Plant:
    """One line whose every value a test decides. Safe to move from any thread."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns
        self.let_in = True
        self.streaming = True
        self._listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]]] = []
        newest = self.now_ns() // SECOND_NS * SECOND_NS - SECOND_NS
        self.line: Json = {
            "path": PATH,
            "state": "running",
            "machines": [
                _machine(name, place, newest) for place, name in enumerate(MACHINES, start=1)
            ],
            "anomalies": [],
        }
        self.gateway: Json = {
            "gateway": "gw-line-1", "site": "guiyang", "area": "assembly",
            "seen_ns": self.now_ns(), "received": 12345, "derived": 12300, "filtered": 0,
            "dropped": 0, "pending": 45, "balanced": True,
        }  # fmt: skip

    def board(self, recent: int = 0) -> bytes:
        """The snapshot's own contract: JSON bytes of `GET /v1/board`."""
        assert recent in (0, RECENT)
        return json.dumps(
            {"now_ns": self.now_ns(), "lines": [self.line], "gateways": [self.gateway]}
        ).encode()

    def machine(self, name: str) -> Json:
        return next(one for one in self.line["machines"] if one["machine"] == name)

    def signal(self, machine: str, name: str) -> Json:
        return next(one for one in self.machine(machine)["signals"] if one["signal"] == name)

    def window(self, machine: str, signal: str, **fields: Any) -> None:
        """A new newest window now: `mean` with its band, or whatever `fields` say."""
        it = self.signal(machine, signal)
        after = it["window"]["time_ns"] + SECOND_NS if it["window"] else 0
        start = max(self.now_ns() // SECOND_NS * SECOND_NS - SECOND_NS, after)
        it["window"] = _window(fields.pop("time_ns", start), **fields)
        it["recent"] = [*it["recent"], _recent(it["window"])][-RECENT:]
        update = {"path": PATH, "machine": machine, "signal": signal, "every": "1s"}
        self.send("windows", [{**update, "window": it["window"]}])

    def empty(self, machine: str, signal: str) -> None:
        """A window in which nothing came."""
        self.window(machine, signal, n=0, good=0.0, **dict.fromkeys(_FIGURES))

    def text(self, machine: str, signal: str, text: str) -> None:
        sample = {"time_ns": self.now_ns(), "text": text}
        self.signal(machine, signal)["text"] = sample
        self.send("text", {"path": PATH, "machine": machine, "signal": signal, "text": sample})

    def age(self, machine: str, seconds: float) -> None:
        """Make everything this machine sent older, as if it had been silent since."""
        for it in self.machine(machine)["signals"]:
            if it["window"]:
                it["window"]["time_ns"] -= int(seconds * SECOND_NS)
            it["recent"] = [[row[0] - int(seconds * SECOND_NS), *row[1:]] for row in it["recent"]]

    def anomaly(self, machine: str, signal: str, severity: str, message: str, **more: Any) -> str:
        """Open an anomaly; returns its id."""
        one: Json = {
            "id": f"a-{len(self.line['anomalies']) + 1}", "machine": machine, "signal": signal,
            "detector": "level", "severity": severity, "score": 0.97, "value": None,
            "expected": None, "low": None, "high": None, "start_ns": self.now_ns(),
            "ended_ns": None, "message": message, "contributors": None, **more,
        }  # fmt: skip
        self.line["anomalies"].insert(0, one)
        self._judge()
        self.send("anomaly", {"path": PATH, "anomaly": one})
        return str(one["id"])

    def end(self, anomaly_id: str) -> None:
        one = next(it for it in self.line["anomalies"] if it["id"] == anomaly_id)
        one["ended_ns"] = self.now_ns()
        self._judge()
        self.send("anomaly", {"path": PATH, "anomaly": one})

    def report(self, **fields: Any) -> None:
        """A line of the gateway's ledger."""
        self.gateway |= {"seen_ns": self.now_ns(), **fields}
        self.send("gateway", self.gateway)

    def _judge(self) -> None:
        open_ = [one for one in self.line["anomalies"] if one["ended_ns"] is None]
        for it in self.line["machines"]:
            it["state"] = _worst(one for one in open_ if one["machine"] == it["machine"])
        self.line["state"] = _worst(iter(open_))

    def send(self, event: str, data: Any) -> None:
        self._put(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def cut(self) -> None:
        """Break every stream and refuse new ones."""
        self.streaming = False
        self._put(None)

    def restore(self) -> None:
        self.streaming = True

    @property
    def watchers(self) -> int:
        """Browsers that listen now."""
        return len(self._listeners)

    def _put(self, message: str | None) -> None:
        for loop, queue in list(self._listeners):
            loop.call_soon_threadsafe(queue.put_nowait, message)

    async def listen(self) -> AsyncIterator[str]:
        place = (asyncio.get_running_loop(), asyncio.Queue[str | None]())
        self._listeners.append(place)
        try:
            yield ": heartbeat\n\n"
            while (message := await place[1].get()) is not None:
                yield message
        finally:
            self._listeners.remove(place)


_FIGURES = ("mean", "std", "min", "max", "first", "last", "increase")


def _worst(anomalies: Iterator[Json]) -> str:
    return min((one["severity"] for one in anomalies), default="running")


def _window(time_ns: int, **fields: Any) -> Json:
    return {"time_ns": time_ns, "n": 10, "good": 1.0, "rev": 0, **dict.fromkeys(_FIGURES), **fields}


def _recent(window: Json) -> list[Any]:
    return [window[name] for name in ("time_ns", "mean", "min", "max", "good")]


def _machine(name: str, place: int, newest_ns: int) -> Json:
    return {
        "machine": name, "model": f"Model {place}", "order_in_line": place, "state": "running",
        "signals": [_signal(it, spec, newest_ns) for it, spec in MACHINES[name].items()],
    }  # fmt: skip


def _signal(name: str, spec: tuple[str, str | None, float, float], newest_ns: int) -> Json:
    kind, unit, level, half = spec
    signal: Json = {
        "signal": name, "kind": kind, "unit": unit, "description": None, "low": None, "high": None,
        "every": None if kind == "text" else "1s", "window": None, "recent": [], "text": None,
    }  # fmt: skip
    if kind == "text":
        text = "good" if name == "verdict" else "U-000841"
        return {**signal, "text": {"time_ns": newest_ns, "text": text}}
    windows = [
        _told(kind, level, half, newest_ns - back * SECOND_NS, back) for back in range(RECENT)
    ][::-1]
    return {**signal, "window": windows[-1], "recent": [_recent(it) for it in windows]}


def _told(kind: str, level: float, half: float, time_ns: int, back: int) -> Json:
    """The window `back` windows ago: the newest mean is `level` itself."""
    if kind == "counter":
        return _window(time_ns, last=level - back * half, increase=half)
    if kind == "discrete":
        return _window(time_ns, last=level)
    mean = level + half * 0.35 * math.sin(back * 0.9) * math.cos(back * 0.23)
    wide = half * (0.8 + 0.2 * math.sin(back * 2.3))
    return _window(time_ns, mean=mean, min=mean - wide, max=mean + wide, last=mean)


def build(plant: Plant) -> FastAPI:
    """The app that `cloud.app` would build, with `plant` for everything behind the page."""
    app = FastAPI(openapi_url=None)
    app.state.snapshot = plant
    app.include_router(web.router)
    web.mount_static(app)
    app.dependency_overrides[web.signed_in] = lambda: plant.let_in

    @app.get("/v1/board")
    def board(recent: int = 0) -> Response:
        return Response(plant.board(recent), media_type="application/json")

    @app.get("/v1/stream")
    async def stream() -> StreamingResponse:
        if not plant.streaming:
            raise HTTPException(503)
        return StreamingResponse(plant.listen(), media_type="text/event-stream")

    return app


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Run `app` on a free port of 127.0.0.1; gives its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        assert time.monotonic() < deadline, "the fake cloud did not start"
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
