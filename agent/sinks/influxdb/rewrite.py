r"""Lines as a far side can hold them: without strings, without revisions, with escaped line ends.

Enters: a packet. Leaves: a body, and how many of its lines were left out. A packet that needs no
change costs two scans of its body, 0.2 us a window line; in others a line costs about 2 us, and one
that holds strings 3 to 5 us. A line that cannot be read stays as it is: the far side says what is
wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from agent.lines import Packet

# Loops are unrolled (plain, then escape and plain): alternatives would be several times as slow.
_SERIES = re.compile(rb"[^\\ ]+(?:\\.[^\\ ]*)* ", re.DOTALL)
_STRING = re.compile(rb',[^\\=, ]*(?:\\.[^\\=, ]*)*="[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
"""A string field behind its comma. Scanning from the left takes strings whole and enters none."""
_REVISED = re.compile(rb",rev=[1-9]")
_REV_ENDS_WITHIN = 48
"""A window's last field is its `rev`: it is found in so many bytes from the line's end."""


def unchanged(packet: Packet) -> tuple[bytes, int]:
    """The body as it is."""
    return packet.body, 0


def numbers_only(packet: Packet) -> tuple[bytes, int]:
    """The body without string fields; lines that have no others, and revisions, are left out."""
    body = packet.body
    if b'"' not in body and not _REVISED.search(body):
        return body, 0
    kept = [line for line in map(_numbers, _lines(packet)) if line]
    return b"".join(kept), len(packet) - len(kept)


def escaped_line_ends(packet: Packet) -> tuple[bytes, int]:
    """The body with a backslash before line ends inside strings."""
    if packet.body.count(b"\n") == len(packet) and b"\r" not in packet.body:
        return packet.body, 0
    return b"".join(_with_strings(line, _escape) for line in _lines(packet)), 0


def _lines(packet: Packet) -> Iterator[bytes]:
    return (packet.body[low:high] for low, high in pairwise(packet.offsets.tolist()))


def _numbers(line: bytes) -> bytes:
    """The line without its strings; empty for a revision and where nothing is left."""
    if line.startswith(b"window,") and b",rev=0i " not in line[-_REV_ENDS_WITHIN:]:
        return b""
    return _with_strings(line, b"") if b'"' in line else line


def _escape(string: re.Match[bytes]) -> bytes:
    return string[0].replace(b"\n", b"\\\n").replace(b"\r", b"\\\r")


def _with_strings(line: bytes, change: bytes | Callable[[re.Match[bytes]], bytes]) -> bytes:
    """The line with every string field changed; empty where no field is left."""
    series = _SERIES.match(line)
    if series is None:
        return line
    at = series.end()
    fields = _STRING.sub(change, b"," + line[at:])
    return line[:at] + fields[1:] if fields.startswith(b",") else b""
