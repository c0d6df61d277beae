"""The quarantine: what is kept of a flood, what is counted, and what is said and shown of it."""

from __future__ import annotations

import json
import logging

import pytest

from agent.sources.quarantine import (
    KEPT_MAX,
    KEPT_PER_S_MAX,
    NO_SIGNAL,
    PAYLOAD_BYTES_MAX,
    SAY_TOPICS_MAX,
    SECOND_NS,
    TEXT_CHARS_MAX,
    UNREADABLE,
    Quarantine,
    Rejected,
    documents,
)


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000

    def __call__(self) -> int:
        return self.now_s * SECOND_NS


def document(payload: bytes, size: int | None = None) -> tuple[str, str]:
    rejected = Rejected(1, "floor", 1, UNREADABLE, "a", size or len(payload), payload, "")
    shown = rejected.document()
    return shown["form"], shown["payload"]


def test_the_newest_are_kept_and_all_are_counted() -> None:
    clock = Clock()
    quarantine = Quarantine("floor", clock)
    for number in range(KEPT_MAX + 5):
        clock.now_s += 1
        quarantine.put(UNREADABLE, "a/b", b"%d" % number, "why", count=2)
    kept = quarantine.newest()
    assert [one.payload for one in kept] == [b"%d" % n for n in range(5, KEPT_MAX + 5)]
    assert kept[-1].time_ns == clock()
    assert quarantine.rejected == {UNREADABLE: 2 * (KEPT_MAX + 5)}
    assert quarantine.skipped == 0


def test_of_a_flood_one_a_topic_and_cause_is_kept_each_second_and_few_in_all() -> None:
    clock = Clock()
    quarantine = Quarantine("floor", clock)
    for _ in range(50):
        quarantine.put(UNREADABLE, "noisy", b"x", "why")
    quarantine.put(NO_SIGNAL, "noisy", b"x", "why")
    for number in range(50):
        quarantine.put(UNREADABLE, f"t{number}", b"x", "why")
    assert len(quarantine.newest()) == KEPT_PER_S_MAX
    assert [one.topic for one in quarantine.newest()][:3] == ["noisy", "noisy", "t0"]
    assert quarantine.skipped == 101 - KEPT_PER_S_MAX
    assert quarantine.rejected == {UNREADABLE: 100, NO_SIGNAL: 1}
    clock.now_s += 1
    quarantine.put(UNREADABLE, "noisy", b"x", "why")
    assert len(quarantine.newest()) == KEPT_PER_S_MAX + 1
    assert quarantine.newest()[-1].number == 102


def test_what_is_kept_is_bounded_whatever_comes() -> None:
    quarantine = Quarantine("floor", Clock())
    quarantine.put(UNREADABLE, "t" * 65_535, bytearray(b"x" * 10**6), "r" * 10**6)
    [one] = quarantine.newest()
    assert (one.payload, one.size) == (b"x" * PAYLOAD_BYTES_MAX, 10**6)
    assert (len(one.topic), len(one.reason)) == (TEXT_CHARS_MAX, TEXT_CHARS_MAX)


def test_a_listener_is_told_of_each_that_is_kept() -> None:
    quarantine = Quarantine("floor", Clock())
    heard: list[Rejected] = []
    quarantine.put(UNREADABLE, "a", b"1", "why")
    quarantine.listen(heard.append)
    for topic in ("a", "b"):
        quarantine.put(UNREADABLE, topic, b"2", ValueError("why not"))
    assert heard == quarantine.newest()[1:]
    assert heard[0].reason == "why not"


@pytest.mark.parametrize(
    ("payload", "form", "shown"),
    [
        (b'{"v": 1}\n', "text", '{"v": 1}\n'), ("力".encode(), "text", "力"), (b"", "text", ""),
        (b"21.5\xb0C and so on", "text", "21.5\\xb0C and so on"),
        (b"\x00\x01\x02\x03", "hex", "00 01 02 03"), (b"\xff\xfe\xfd", "hex", "ff fe fd"),
    ],
)  # fmt: skip
def test_a_payload_is_shown_as_text_if_it_is_some_and_else_in_hexadecimal(
    payload: bytes, form: str, shown: str
) -> None:
    assert document(payload) == (form, shown)


def test_a_character_that_was_cut_off_does_not_make_text_unreadable() -> None:
    assert document("力力".encode()[:5], size=900) == ("text", "力")


def test_the_answer_holds_what_all_sources_keep_by_time_and_how_much_each_rejected() -> None:
    clock = Clock()
    one, other = Quarantine("floor", clock), Quarantine("yard", clock)
    one.put(UNREADABLE, "a", b"1", "\ud800")
    clock.now_s += 1
    other.put(NO_SIGNAL, "b", b"2", "why")
    clock.now_s += 1
    one.put(UNREADABLE, "c", b"3", "why", count=5)
    answer = json.loads(json.dumps(documents({"floor": one, "yard": other}), ensure_ascii=False))
    assert [(each["source"], each["topic"]) for each in answer["rejected"]] == [
        ("floor", "a"), ("yard", "b"), ("floor", "c"),
    ]  # fmt: skip
    assert answer["rejected"][0] == {
        "type": "rejected", "source": "floor", "number": 1, "time_ns": 1_800_000_000 * SECOND_NS,
        "cause": UNREADABLE, "topic": "a", "bytes": 1, "payload": "1", "form": "text",
        "reason": "\\ud800",
    }  # fmt: skip
    assert answer["counts"] == {"floor": {UNREADABLE: 6}, "yard": {NO_SIGNAL: 1}}


def test_a_topic_is_said_once_a_minute_and_a_flood_of_topics_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr("agent.sources.quarantine.time.monotonic", lambda: now_s)
    quarantine = Quarantine("floor", Clock())
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            quarantine.put(UNREADABLE, f"a/{number % 500}\x1b", b"{" * 99, "not JSON")
        assert len(caplog.records) == SAY_TOPICS_MAX
        assert caplog.messages[0] == (
            "floor: a/0\\x1b: '" + "{" * 40 + "' is set aside (unreadable): not JSON. Other topics "
            "are not affected; `andon tail --rejected` shows more."
        )
        now_s += 60
        quarantine.put(UNREADABLE, "a/0\x1b", b"{", "not JSON")
    assert len(caplog.records) == SAY_TOPICS_MAX + 1


def test_of_more_topics_than_are_kept_at_once_each_comes_to_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    quarantine = Quarantine("floor", clock)
    topics = [f"line/{number}" for number in range(KEPT_PER_S_MAX + KEPT_PER_S_MAX // 2)]
    for _ in range(2):
        clock.now_s += 1
        for topic in topics:
            quarantine.put(UNREADABLE, topic, b"?", "why")
    assert {one.topic for one in quarantine.newest()} == set(topics)
