"""The InfluxDB v2 write API: the sink for the Andon cloud, InfluxDB, QuestDB, VictoriaMetrics.

Enters: packets of line protocol. Leaves: one `POST /api/v2/write` each, gzipped, in nanoseconds,
with `X-Andon-Outbox` and `X-Andon-Lines` so that the far side can prove that nothing is missing;
other servers ignore these. influxdb-client owns connection and TLS; it is told to retry nothing,
and its batching mode is not used, since it drops data after 180 s.

What can fail, by answer (when to try again is the forwarder's business):

    2xx                         taken, unless it is a web page: then a portal answered, not the API
    413                         SinkRejected(too_large)
    400, 422                    SinkRejected; lines beside the wrong one may have been written
    401, 403, other 3xx, 4xx    SinkRefused: token, scope, bucket or url; needs a person
    408, 429, 5xx, no answer    SinkUnreachable, with Retry-After
"""

from __future__ import annotations

import email.utils
import re
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3 import exceptions as urllib3_errors

from agent.errors import ConfigError, SinkError, SinkRefused, SinkRejected, SinkUnreachable
from agent.lines import Packet

TIMEOUT_S: Final = 10.0
WORDS_MAX: Final = 300
"""So many characters of the far side's words are kept."""

_GZIP_LEVEL: Final = 1
"""Level 1 costs 1.5 us a window line and leaves 56 B of 245; level 9 10.5 us and 45 B."""

_LATER: Final = frozenset({408, 425, 429})

_Service: Any = WriteService  # influxdb-client has types for its front door only


class InfluxdbSink:
    """One far side that speaks the InfluxDB v2 write API.

    url : http(s)://host[:port][/prefix]; `/api/v2/write` is added
    token : empty where the far side asks for none
    outbox : the outbox's uuid, sent with every packet
    timeout_s : for connecting, and for each wait for an answer

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
    ) -> None:
        _check(name, url, token, org, bucket, timeout_s)
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
        self._write = _Service(self._api)

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    def send(self, packet: Packet) -> None:
        """Write the packet; return when the far side has said that it has it.

        Raises SinkUnreachable, SinkRefused or SinkRejected, with the far side's own words.
        """
        # A default header, because the client has no headers for one request.
        self._api.set_default_header("X-Andon-Lines", f"{packet.first}-{packet.last}")
        try:
            _, status, headers = self._write.post_write_with_http_info(
                **self._place, body=_gzip(packet.body), precision="ns", content_encoding="gzip"
            )
        except ApiException as error:
            raise self._refusal(error) from error
        except (urllib3_errors.HTTPError, OSError, UnicodeDecodeError) as error:
            raise SinkUnreachable(f"{self._url}: {self._silence(error)}") from error
        if "text/html" in _header(headers, "Content-Type"):
            raise SinkRefused(
                f"{self._url} answered {status} with a web page",
                "a portal or another server answers there; check the url and the way to it",
            )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _refusal(self, error: ApiException) -> SinkError:
        """What an answer other than 2xx means."""
        status, words = error.status or 0, _words(error.body or error.reason)
        if status == 0:
            return self._tls(words)
        message = f"{self._url} answered {status}: {words}"
        if status == 413:
            return SinkRejected(message, too_large=True)
        if status in (400, 422):
            return SinkRejected(message, "the line breaks a rule of the far side, such as a type")
        if status >= 500 or status in _LATER:
            wait = _header(error.headers or {}, "Retry-After")
            return SinkUnreachable(message, retry_after_s=_retry_after_s(wait))
        if status in (401, 403):
            return SinkRefused(message, f"check the token of influxdb {self._name!r} and its scope")
        return SinkRefused(message, f"check url, org and bucket of influxdb {self._name!r}")

    def _tls(self, words: str) -> SinkError:
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return SinkRefused(
                f"{self._url}: its certificate is not trusted: {words}",
                "add the plant's certificate authority to the system's trusted ones",
            )
        return SinkUnreachable(f"{self._url}: no TLS connection: {words}")

    def _silence(self, error: Exception) -> str:
        """Why no answer came, in plain words."""
        if isinstance(error, urllib3_errors.NameResolutionError):
            return "its name cannot be resolved"
        if isinstance(error, urllib3_errors.ConnectTimeoutError) and not isinstance(
            error, urllib3_errors.NewConnectionError
        ):
            return f"no connection within {self._timeout_s:g} s"
        if isinstance(error, urllib3_errors.NewConnectionError):
            cause = error.__cause__ or error.__context__
            return str(getattr(cause, "strerror", None) or error).lower()
        if isinstance(error, urllib3_errors.TimeoutError | TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, UnicodeDecodeError):
            return "its answer is not text"
        cause = error.args[-1] if error.args else error
        return f"the connection broke off: {_words(str(cause))}"


def _check(name: str, url: str, token: str, org: str, bucket: str, timeout_s: float) -> None:
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


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _GZIP_LEVEL, wbits=31)


def _header(headers: Mapping[str, Any], name: str) -> str:
    return str(next((v for k, v in headers.items() if k.lower() == name.lower()), ""))


def _words(body: object) -> str:
    """The far side's own words, of JSON only the message, without line ends, bounded."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "no reason")
    found = re.search(r'"(?:message|error|detail)"\s*:\s*"((?:[^"\\]|\\.)+)"', text)
    text = " ".join((found[1] if found else text).split())
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 3] + "..."


def _retry_after_s(text: str) -> float:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3); 0 where neither."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0
