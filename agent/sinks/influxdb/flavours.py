"""The servers that speak the InfluxDB v2 write API, and in what they differ.

Enters: a name, or the headers of an answer to `GET /ping`. Leaves: what that server can hold.

| flavour | known by, in its answer to `/ping` | source |
|---|---|---|
| andon | `X-Influxdb-Version: andon-...` | `cloud/ingest/write.py` |
| influxdb3 | `X-Influxdb-Version: 3...`; from 3.10 on asked with the token | its http.rs |
| influxdb-cloud | `X-Influxdb-Build: cloud...` | as met in the field |
| victoriametrics | `X-Server-Hostname` and no version | Debian's 1.79.5, which the tests run |
| questdb | `Server: questDB/1.0`, with a made-up version 2 | its LineHttpPingProcessor |
| influxdb2 | whatever else answers | docs.influxdata.com/influxdb/v2/api/ping |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.lines import Packet
from agent.sinks.influxdb.rewrite import escaped_line_ends, numbers_only, unchanged

AUTO: Final = "auto"
"""The name that stands for asking."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind of server.

    gzip : it reads compressed bodies
    rewrite : of a packet, the body it can hold, and how many lines it cannot
    """

    name: str
    gzip: bool = True
    rewrite: Callable[[Packet], tuple[bytes, int]] = unchanged


INFLUXDB2: Final = Flavour("influxdb2")
"""What a server is taken for that does not say what it is."""

FLAVOURS: Final = {
    flavour.name: flavour
    for flavour in (
        Flavour("andon"),
        INFLUXDB2,
        Flavour("influxdb-cloud"),
        Flavour("influxdb3"),
        # It turns strings into 0 and keeps both points of one identity.
        Flavour("victoriametrics", rewrite=numbers_only),
        # It reads gzip from 9.1.0 on only, and ends a line at a line end inside a string.
        Flavour("questdb", gzip=False, rewrite=escaped_line_ends),
    )
}


def recognised(headers: Mapping[str, str]) -> Flavour:
    """The server that answers `/ping` with these headers; their names are in lower case."""
    version = headers.get("x-influxdb-version", "").lower().removeprefix("v")
    if version.startswith("andon-"):
        return FLAVOURS["andon"]
    if headers.get("server", "").lower().startswith("questdb"):
        return FLAVOURS["questdb"]
    if version.startswith("3."):
        return FLAVOURS["influxdb3"]
    if headers.get("x-influxdb-build", "").lower().startswith("cloud"):
        return FLAVOURS["influxdb-cloud"]
    if "x-server-hostname" in headers and not version:
        return FLAVOURS["victoriametrics"]
    return INFLUXDB2
