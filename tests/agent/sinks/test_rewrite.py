"""Lines as a far side can hold them: what goes is what it cannot hold, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from agent.sinks.influxdb.rewrite import escaped_line_ends, numbers_only, unchanged
from tests.conformance.sink import packet

NUMBERS = b"window,signal=a\\,\\ b\\=c,every=1s n=2i,good=1,mean=-0.5e-7,rev=0i 17"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (NUMBERS, NUMBERS),
        (NUMBERS.replace(b"rev=0i", b"rev=10i"), b""),
        (b'anomaly,signal=a id="x",score=0.5 1', b"anomaly,signal=a score=0.5 1"),
        (b'anomaly,signal=a score=0.5,id="x" 1', b"anomaly,signal=a score=0.5 1"),
        (b'a x=1i,m="say \\"hi\\", v=2i 5\nrev=1i",y=2 1', b"a x=1i,y=2 1"),
        (b'a m="ends with \\\\",y=2,b=true 1', b"a y=2,b=true 1"),
        (b'a m="",n="" 1', b""),
        (b'sample,signal=a text="Execute",status=0i 1', b"sample,signal=a status=0i 1"),
        (b'a,signal=the\\ "big"\\=one x=1,m="z" 1', b'a,signal=the\\ "big"\\=one x=1 1'),
        (b'a,signal="x" v=1 1', b'a,signal="x" v=1 1'),
        (b'event rev=1i,m=",rev=1i " 1', b"event rev=1i 1"),
        (b'a\\ b,c=d e\\ f="x",g\\=h=2 1', b"a\\ b,c=d g\\=h=2 1"),
        (b'unreadable="', b'unreadable="'),
    ],
)
def test_numbers_stay_and_strings_and_revisions_go(line: bytes, left: bytes) -> None:
    body, withheld = numbers_only(packet(NUMBERS, line, b"z v=1 1"))
    kept = [NUMBERS, left, b"z v=1 1"] if left else [NUMBERS, b"z v=1 1"]
    assert body == b"".join(one + b"\n" for one in kept)
    assert withheld == (not left)


def test_a_packet_without_strings_and_revisions_is_not_copied() -> None:
    sent = packet(*[NUMBERS] * 100)
    assert numbers_only(sent) == (sent.body, 0)
    assert numbers_only(sent)[0] is sent.body
    assert unchanged(sent)[0] is sent.body


def test_line_ends_inside_strings_are_escaped_and_others_are_not() -> None:
    sent = packet(b'a m="x\ny\r",v=1 1', b'b m="\\\\\n" 1', b"c v=1 1")
    assert escaped_line_ends(sent) == (
        b'a m="x\\\ny\\\r",v=1 1\nb m="\\\\\\\n" 1\nc v=1 1\n', 0,
    )  # fmt: skip
    plain = packet(b'a m="x" 1')
    assert escaped_line_ends(plain)[0] is plain.body


def test_random_lines_lose_exactly_their_strings() -> None:
    random = np.random.default_rng(5)
    texts = [b'"x"', b'"a, b=c"', b'"\\"q\\" \\\\"', b'"1\n2"', b'""']
    lines, kept = [], []
    for number in range(2000):
        head, fields = b"m%d,t=v " % number, []
        for field in range(random.integers(1, 6)):
            value = texts[random.integers(5)] if random.random() < 0.5 else b"%di" % field
            fields.append(b"f%d=%b" % (field, value))
        lines.append(head + b",".join(fields) + b" %d" % number)
        numbers = [field for field in fields if b'"' not in field]
        kept += [head + b",".join(numbers) + b" %d\n" % number] if numbers else []
    assert numbers_only(packet(*lines)) == (b"".join(kept), len(lines) - len(kept))
