"""What outlives a session: its number; and what hosts say to a node."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sinks.sparkplug.bdseq import BdSeq
from agent.sinks.sparkplug.host import PrimaryHost, wants_rebirth
from agent.sparkplug import REBIRTH, DataType, Metric, Payload, encode


def test_sessions_are_counted_over_restarts_and_begin_again_after_255(tmp_path: Path) -> None:
    file = tmp_path / "state" / "scada.bdseq"
    assert [BdSeq(file).next() for _ in range(3)] == [0, 1, 2]
    assert BdSeq(file).next() == 3
    numbers = BdSeq(file)
    assert [numbers.next() for _ in range(255)][-4:] == [255, 0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"256", b"\xff\xfe", b"9" * 1000])
def test_a_file_that_says_no_number_begins_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "scada.bdseq"
    file.write_bytes(content)
    assert BdSeq(file).next() == 0
    assert BdSeq(file).next() == 1


def test_a_file_that_cannot_be_written_is_warned_of_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    numbers = BdSeq(tmp_path / "file" / "scada.bdseq")
    with caplog.at_level(logging.WARNING):
        assert [numbers.next(), numbers.next()] == [0, 1]
    assert "cannot be written" in caplog.text


def said(online: object, timestamp: object) -> bytes:
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


def test_a_host_is_as_its_newest_statement_says() -> None:
    host = PrimaryHost("scada")
    assert host.topics == ("spBv1.0/STATE/scada", "STATE/scada")
    assert host.online is None
    for payload, online in (
        (said(True, 1000), True), (said(False, 999), True), (said(False, 1000), False),
        (said(True, 1001), True), (b"OFFLINE", True), (b"", True), (b"[]", True), (b"{", True),
        (said("no", 2000), True), (said(False, "2000"), True), (said(False, True), True),
        (b'{"online": false}', True), (b"[" * 100_000, True), (b"\xff", True),
        (b'{"online": false, "timestamp": NaN}', True), (said(False, math.inf), True),
        (said(False, 1002), False), (said(True, 1003), True),
    ):  # fmt: skip
        host.hear(host.topics[0], payload)
        assert host.online is online, payload
    host.hear("spBv1.0/STATE/another", said(False, 9000))
    assert host.online


def test_before_3_0_a_host_says_a_word_and_json_outweighs_it() -> None:
    host = PrimaryHost("scada")
    host.hear("STATE/scada", b"ONLINE")
    assert host.online is True
    host.hear("STATE/scada", b"OFFLINE")
    assert host.online is False
    host.hear("spBv1.0/STATE/scada", said(True, 1))
    host.hear("STATE/scada", b"OFFLINE")
    assert host.online is True


def command(*metrics: Metric) -> bytes:
    return encode(Payload(1, metrics))


def test_a_rebirth_is_asked_for_by_its_metric_being_true() -> None:
    other = Metric("Node Control/Reboot", DataType.BOOLEAN, True, 1)
    assert wants_rebirth(command(other, Metric(REBIRTH, DataType.BOOLEAN, True, 1)))
    assert not wants_rebirth(command(other, Metric(REBIRTH, DataType.BOOLEAN, False, 1)))
    assert not wants_rebirth(command(other))
    assert not wants_rebirth(b"")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_command_or_none(data: bytes) -> None:
    assert wants_rebirth(data) in (True, False)


@given(st.integers(0, 60))
def test_a_command_that_was_cut_asks_for_nothing(length: int) -> None:
    whole = command(Metric(REBIRTH, DataType.BOOLEAN, True, 1))
    assert wants_rebirth(whole[:length]) == (length >= len(whole))
