"""A broker that writes down what it was sent, to the bit, and says yes to everything."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from tests.agent.sinks.listener import DEADLINE_S

CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT = 0x10, 0x30, 0x80, 0xA0, 0xE0
_ANSWERS: Final = {CONNECT: 0x20, SUBSCRIBE: 0x90, UNSUBSCRIBE: 0xB0}


@dataclass
class Recorder:
    """What came, in order: the first byte of each packet, and its body."""

    url: str
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    thread: threading.Thread | None = None

    def of(self, kind: int) -> list[tuple[int, bytes]]:
        """The packets of a kind."""
        return [packet for packet in self.packets if packet[0] & 0xF0 == kind]

    def until_the_end(self) -> None:
        """Wait until the connection is over."""
        assert self.thread is not None
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@dataclass(frozen=True)
class Connect:
    """A CONNECT packet (MQTT 3.1.1 and 5.0, 3.1)."""

    level: int
    clean: bool
    session_expiry_s: int
    will_qos: int
    will_retain: bool
    will_topic: str
    will: bytes


def connect_of(body: bytes) -> Connect:
    """What a CONNECT's body says."""
    assert body[:6] == b"\0\4MQTT"
    level, flags, at = body[6], body[7], 10
    expiry_s = 0

    def chunk() -> bytes:
        nonlocal at
        end = at + 2 + int.from_bytes(body[at : at + 2])
        taken, at = body[at + 2 : end], end
        return taken

    if level == 5:
        end = at + 1 + body[at]
        properties, at = body[at + 1 : end], end
        while properties:
            size = {0x11: 4, 0x21: 2}[properties[0]]
            if properties[0] == 0x11:
                expiry_s = int.from_bytes(properties[1:5])
            properties = properties[1 + size :]
    chunk()  # the client id
    assert flags & 4, "it has no will"
    if level == 5:
        at += 1 + body[at]
    topic = chunk().decode()
    return Connect(
        level, bool(flags & 2), expiry_s, flags >> 3 & 3, bool(flags & 0x20), topic, chunk()
    )


class SlowWay(io.RawIOBase):
    """A connection's bytes as a line of `bytes_per_s` brings them."""

    def __init__(self, peer: socket.socket, bytes_per_s: int) -> None:
        self._peer, self._bytes_per_s = peer, bytes_per_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._peer.recv_into(buffer, min(len(buffer), 4096))
        time.sleep(size / self._bytes_per_s)
        return size


@contextmanager
def recording(bytes_per_s: int = 1 << 40, bytes_max: int = 0) -> Iterator[Recorder]:
    """A recorder for one connection.

    bytes_per_s : how fast it reads
    bytes_max : the largest packet that it says it takes
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        recorder = Recorder(f"mqtt://127.0.0.1:{server.getsockname()[1]}")

        def serve() -> None:
            client, _ = server.accept()
            client.settimeout(DEADLINE_S)
            with client, io.BufferedReader(SlowWay(client, bytes_per_s)) as stream:
                while first := stream.read(1):
                    body = stream.read(_length(stream))
                    recorder.packets.append((first[0], body))
                    answer = _answer(first[0], body, recorder, bytes_max)
                    if answer:
                        client.sendall(answer)

        recorder.thread = threading.Thread(target=serve, daemon=True)
        recorder.thread.start()
        yield recorder


def _length(stream: BinaryIO) -> int:
    length = shift = 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return length


def _answer(first: int, body: bytes, recorder: Recorder, bytes_max: int) -> bytes:
    is_5 = recorder.packets[0][1][6] == 5
    kind, properties = first & 0xF0, b"\0" if is_5 else b""
    if kind == CONNECT and bytes_max:
        said = b"\0\0" + b"\x05\x27" + bytes_max.to_bytes(4)
    elif kind == CONNECT:
        said = b"\0\0" + properties
    elif kind == SUBSCRIBE:
        filters = body.count(b"STATE/") + 1
        said = body[:2] + properties + b"\1" * filters
    elif kind == UNSUBSCRIBE:
        said = body[:2] + properties + properties
    else:
        return b""
    return bytes([_ANSWERS[kind], len(said)]) + said
