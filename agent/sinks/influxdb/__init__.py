"""The InfluxDB v2 write API: the sink for the Andon cloud, InfluxDB, QuestDB, VictoriaMetrics.

Enters: packets of line protocol. Leaves: one `POST /api/v2/write` each, gzipped, in nanoseconds,
with `X-Andon-Outbox`, `X-Andon-Lines` and `X-Andon-Void` so that the far side can prove that
nothing is missing; other servers ignore these. influxdb-client owns connection and TLS; it is told
to retry nothing, and its batching mode is not used, since it drops data after 180 s.

Servers differ in what they can hold (`flavours.py`). With `auto` the far side is asked which it is
(`GET /ping`) before the first write over a connection: at the start, after every failure, and once
in `ASK_AGAIN_S`. What can fail, and what it means: `answers.py`; a 2xx is a yes unless it is a web
page: then a portal answered, not the API.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.ping_service import PingService
from influxdb_client.service.write_service import WriteService
from urllib3 import exceptions as urllib3_errors

from agent.errors import ConfigError, SinkRefused, SinkRejected, SinkUnreachable
from agent.lines import Packet
from agent.sinks.influxdb.answers import brief, no_tls, refusal, silence
from agent.sinks.influxdb.flavours import AUTO, FLAVOURS, INFLUXDB2, Flavour, recognised

TIMEOUT_S: Final = 10.0

ASK_AGAIN_S: Final = 60.0
"""A connection that was closed and opened again behind our back is found out within this."""

_GZIP_LEVEL: Final = 1
"""Level 1 costs 1.5 us a window line and leaves 56 B of 245; level 9 10.5 us and 45 B."""

_LINES: Final = "X-Andon-Lines"
_VOID: Final = "X-Andon-Void"

_Services: Any = (WriteService, PingService)  # influxdb-client has types for its front door only


class InfluxdbSink:
    """One far side that speaks the InfluxDB v2 write API.

    url : http(s)://host[:port][/prefix]; `/api/v2/write` is added
    token : empty where the far side asks for none
    outbox : the outbox's uuid, sent with every packet
    timeout_s : for connecting, and for each wait for an answer
    flavour : which server it is, or `auto`

    Raises ConfigError for what can be seen offline. Nothing is connected before the first send.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        token: str,
        outbox: str,
        org: str = "andon",
        bucket: str = "andon",
        timeout_s: float = TIMEOUT_S,
        flavour: str = AUTO,
    ) -> None:
        _check(name, url, token, org, bucket, timeout_s, flavour)
        self._name = name
        self._place = {"org": org, "bucket": bucket}
        self._timeout_s = timeout_s
        self._url = url.rstrip("/")
        self._client: Any = InfluxDBClient(
            url=self._url, token=token, org=org, timeout=round(timeout_s * 1000),
            retries=False, connection_pool_maxsize=1,
        )  # fmt: skip
        self._api: Any = self._client.api_client
        self._api.set_default_header("X-Andon-Outbox", outbox)
        self._write, self._ping = (service(self._api) for service in _Services)
        self._flavour = FLAVOURS.get(flavour)
        self._ask_at = float("-inf") if flavour == AUTO else float("inf")

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    @property
    def flavour(self) -> str:
        """Which server it is; empty while that is not known."""
        return self._flavour.name if self._flavour else ""

    def send(self, packet: Packet) -> int:
        """Write the packet; return when the far side has said that it has it.

        Returns how many lines were left out since it cannot hold them; where that is all of them,
        nothing is sent. Raises SinkUnreachable, SinkRefused or SinkRejected, with its own words.
        """
        try:
            flavour = self._known()
            body, withheld = flavour.rewrite(packet)
            if body:
                self._post(packet, body, flavour)
        except (SinkUnreachable, SinkRefused):
            self._ask_at = min(self._ask_at, time.monotonic())
            raise
        return withheld

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _known(self) -> Flavour:
        """Which server it is, asked where that is due."""
        now_s = time.monotonic()
        if self._flavour is None or now_s >= self._ask_at:
            self._flavour = self._ask()
            self._ask_at = now_s + ASK_AGAIN_S
        return self._flavour

    def _ask(self) -> Flavour:
        try:
            return recognised(self._call(self._ping.get_ping_with_http_info, 0))
        except (SinkRejected, SinkRefused):
            return INFLUXDB2  # the write will say what is wrong, if anything is

    def _post(self, packet: Packet, body: bytes, flavour: Flavour) -> None:
        # Default headers, because the client has no headers for one request.
        self._api.set_default_header(_LINES, _intervals(packet.runs))
        if packet.void:
            self._api.set_default_header(_VOID, _intervals(packet.void))
        else:
            self._api.default_headers.pop(_VOID, None)
        is_numbered = body is packet.body and body.count(b"\n") == len(packet)
        packed: dict[str, Any] = {"body": body}
        if flavour.gzip:
            packed = {
                "body": zlib.compress(body, _GZIP_LEVEL, wbits=31),
                "content_encoding": "gzip",
            }
        headers = self._call(
            self._write.post_write_with_http_info,
            len(packet) if is_numbered else 0,
            precision="ns",
            **self._place,
            **packed,
        )
        if "text/html" in headers.get("content-type", ""):
            raise SinkRefused(
                f"{self._url} answered a write with a web page",
                "a portal or another server answers there; check the url and the way to it",
            )

    def _call(self, request: Callable[..., Any], lines: int, **options: Any) -> dict[str, str]:
        """The headers of a 2xx answer, their names in lower case. Raises SinkError."""
        try:
            _, _, headers = request(**options)
        except ApiException as error:
            if not error.status:
                raise no_tls(self._url, brief(error.reason)) from error
            raise refusal(
                error.status, _lower(error.headers or {}), error.body or error.reason,
                name=self._name, url=self._url, lines=lines,
            ) from error  # fmt: skip
        except (urllib3_errors.HTTPError, OSError, UnicodeDecodeError) as error:
            raise silence(self._url, error, self._timeout_s) from error
        return _lower(headers)


def _intervals(ids: Iterable[tuple[int, int]]) -> str:
    return ",".join(f"{first}-{last}" for first, last in ids)


def _lower(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}


def _check(
    name: str, url: str, token: str, org: str, bucket: str, timeout_s: float, flavour: str
) -> None:
    where = f"influxdb {name!r}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(
            f"{where}: url is {url!r}; it must be https://host, with a port or path if need be",
            'try url = "https://andon.example"',
        )
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise ConfigError(
            f"{where}: token has spaces, line ends or characters outside ASCII",
            "copy the token once more, without the line end",
        )
    for option, text in (("org", org), ("bucket", bucket)):
        if not text:
            raise ConfigError(f"{where}: {option} is empty", f'try {option} = "andon"')
    if not 0 < timeout_s <= 300:
        raise ConfigError(f"{where}: timeout_s is {timeout_s:g}; it must be above 0, at most 300")
    if flavour != AUTO and flavour not in FLAVOURS:
        known = ", ".join([AUTO, *FLAVOURS])
        raise ConfigError(f"{where}: flavour is {flavour!r}; it must be one of {known}")
