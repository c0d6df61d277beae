"""Blocks give back the very bits that were put in, or say that they cannot."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.lines import SAMPLE, WINDOW, Lines
from agent.outbox.sqlite.blocks import BlockDamagedError, pack, unpack


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.binary(max_size=5 * WINDOW.itemsize),
    st.binary(max_size=5 * SAMPLE.itemsize),
    st.lists(st.text(st.characters(codec="utf-8")), max_size=4),
    st.lists(st.binary(), max_size=4),
)
def test_any_columns_come_back_bit_for_bit(
    windows: bytes, samples: bytes, texts: list[str], ready: list[bytes]
) -> None:
    lines = Lines(
        np.frombuffer(windows[: len(windows) // WINDOW.itemsize * WINDOW.itemsize], WINDOW),
        np.frombuffer(samples[: len(samples) // SAMPLE.itemsize * SAMPLE.itemsize], SAMPLE),
        tuple(texts),
        tuple(ready),
    )
    block = pack(lines)
    back = unpack(block, zlib.crc32(block))
    assert back.windows.tobytes() == lines.windows.tobytes()
    assert back.samples.tobytes() == lines.samples.tobytes()
    assert (back.texts, back.ready) == (lines.texts, lines.ready)


def test_any_flipped_bit_is_noticed() -> None:
    block = pack(Lines(ready=(b"a v=1 1", b"b v=2 2")))
    crc = zlib.crc32(block)
    for i in range(len(block)):
        harmed = block[:i] + bytes([block[i] ^ 4]) + block[i + 1 :]
        with pytest.raises(BlockDamagedError):
            unpack(harmed, crc)


def test_a_block_of_a_newer_format_is_not_guessed_at() -> None:
    block = b"\x09" + pack(Lines())[1:]
    with pytest.raises(BlockDamagedError, match="format 9 is not known"):
        unpack(block, zlib.crc32(block))
