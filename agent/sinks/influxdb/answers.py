"""What a far side's answer means, other than yes.

Enters: status, headers and body, or the error of a connection that gave none. Leaves: a SinkError.

    413                         SinkRejected(too_large)
    400, 422                    SinkRejected; lines beside the wrong one may have been written
    401, 403, other 3xx, 4xx    SinkRefused: token, scope, bucket or url; needs a person
    408, 425, 429, 5xx, none    SinkUnreachable, with Retry-After

InfluxDB 3 answers 400 to a partial write and names the lines it did not write, at most a hundred
(docs.influxdata.com/influxdb3/core/write-data/troubleshoot): `SinkRejected.lines`.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Final

from urllib3 import exceptions as urllib3_errors

from agent.errors import SinkError, SinkRefused, SinkRejected, SinkUnreachable

WORDS_MAX: Final = 300
"""So many characters of the far side's words are kept."""

NAMED_MAX: Final = 100
"""InfluxDB 3 names no more lines than this; a list so long may not be all of them."""

_LATER: Final = frozenset({408, 425, 429})


def refusal(
    status: int, headers: Mapping[str, str], body: object, *, name: str, url: str, lines: int
) -> SinkError:
    """What an answer other than 2xx means.

    headers : their names in lower case
    name, url : of the sink, for the sentence
    lines : how many were sent, 0 where the far side's line numbers are not those of the packet
    """
    words = brief(body)
    message = f"{url} answered {status}: {words}"
    if status == 413:
        return SinkRejected(message, too_large=True)
    if status in (400, 422):
        hint = "the line breaks a rule of the far side, such as a type"
        return SinkRejected(message, hint, lines=_named(body, lines))
    if status >= 500 or status in _LATER:
        wait_s = _retry_after_s(headers.get("retry-after", ""))
        return SinkUnreachable(message, retry_after_s=wait_s)
    if status in (401, 403):
        return SinkRefused(message, f"check the token of influxdb {name!r} and its scope")
    return SinkRefused(message, f"check url, org and bucket of influxdb {name!r}")


def no_tls(url: str, words: str) -> SinkError:
    """What it means that no TLS connection came about."""
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return SinkRefused(
            f"{url}: its certificate is not trusted: {words}",
            "add the plant's certificate authority to the system's trusted ones",
        )
    return SinkUnreachable(f"{url}: no TLS connection: {words}")


def silence(url: str, error: Exception, timeout_s: float) -> SinkUnreachable:
    """Why no answer came, in plain words."""
    if isinstance(error, urllib3_errors.NameResolutionError):
        why = "its name cannot be resolved"
    elif isinstance(error, urllib3_errors.NewConnectionError):
        cause = error.__cause__ or error.__context__
        why = str(getattr(cause, "strerror", None) or error).lower()
    elif isinstance(error, urllib3_errors.ConnectTimeoutError):
        why = f"no connection within {timeout_s:g} s"
    elif isinstance(error, urllib3_errors.TimeoutError | TimeoutError):
        why = f"no answer within {timeout_s:g} s"
    elif isinstance(error, UnicodeDecodeError):
        why = "its answer is not text"
    else:
        why = f"the connection broke off: {brief(error.args[-1] if error.args else error)}"
    return SinkUnreachable(f"{url}: {why}")


def brief(body: object) -> str:
    """The far side's own words, of JSON only the message, without line ends, bounded."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "no reason")
    found = re.search(r'"(?:message|error|detail)"\s*:\s*"((?:[^"\\]|\\.)+)"', text)
    text = " ".join((found[1] if found else text).split())
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 3] + "..."


def _named(body: object, lines: int) -> dict[int, str]:
    """The lines that a partial write names, by offset; empty where they are not surely all."""
    try:
        answer = json.loads(body) if isinstance(body, str | bytes) else {}
        if not str(answer["error"]).startswith("partial write"):
            return {}
        named = {int(row["line_number"]) - 1: brief(row["error_message"]) for row in answer["data"]}
    except (ValueError, TypeError, KeyError):
        return {}
    is_sure = len(named) == len(answer["data"]) < NAMED_MAX and set(named) <= set(range(lines))
    return named if is_sure else {}


def _retry_after_s(text: str) -> float:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3); 0 where neither."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0
