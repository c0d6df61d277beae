"""Episodes: one anomaly a signal and detector, from its start to its end under one identity."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agent.detect.anomaly import Anomaly
from agent.detect.episodes import Episodes
from agent.kernels.events import (
    BAD_STATUS,
    CLOSED,
    DROPOUT,
    EVENT,
    LEVEL,
    OPENED,
    RAISED,
    STUCK,
)

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def event(
    what: int, detector: int = LEVEL, signal: int = 0, after_s: int = 0, ratio: float = 1.5,
    **fields: Any,
) -> npt.NDArray[Any]:  # fmt: skip
    row = np.zeros(1, EVENT)
    row["signal"], row["detector"], row["what"] = signal, detector, what
    row["start_ns"], row["time_ns"], row["ratio"] = START, START + after_s * SECOND, ratio
    for name, value in fields.items():
        row[name] = value
    return row


def one(anomalies: list[Anomaly]) -> Anomaly:
    (anomaly,) = anomalies
    return anomaly


def test_a_level_is_opened_raised_and_ended_as_one_anomaly_told_by_its_worst() -> None:
    episodes = Episodes()
    fields: dict[str, Any] = {"expected": 50.0, "low": 44.0, "high": 56.0}
    opened = one(episodes.take(event(OPENED, value=60.0, **fields)))
    raised = one(episodes.take(event(RAISED, after_s=3, ratio=2.5, value=66.0, **fields)))
    ended = one(episodes.take(event(CLOSED, after_s=9, ratio=4.0, value=75.0, **fields)))
    assert [opened.severity, raised.severity, ended.severity] == ["warning", "alarm", "alarm"]
    assert [opened.value, raised.value, ended.value] == [60.0, 66.0, 75.0]
    assert len({a.id("press-01/force") for a in (opened, raised, ended)}) == 1
    assert {a.noticed_ns for a in (opened, raised, ended)} == {START}
    assert [opened.ended_ns, raised.ended_ns, ended.ended_ns] == [None, None, START + 9 * SECOND]
    assert episodes.open() == []


@pytest.mark.parametrize("detector", [STUCK, DROPOUT])
def test_silence_ends_with_the_pause_it_came_to(detector: int) -> None:
    episodes = Episodes()
    opened = one(episodes.take(event(OPENED, detector, value=24.5, low=0.3e9, high=2e9)))
    ended = one(episodes.take(event(CLOSED, detector, after_s=60, value=99.0, high=60e9)))
    assert (opened.value, opened.usual_ns, opened.pause_ns) == (24.5, 0.3e9, 2e9)
    assert (ended.value, ended.usual_ns, ended.pause_ns) == (24.5, 0.3e9, 60e9)
    assert ended.severity == opened.severity
    assert math.isnan(ended.low)


def test_a_bad_status_keeps_its_code_and_has_no_value() -> None:
    opened = one(Episodes().take(event(OPENED, BAD_STATUS, value=float(0x808C_0000))))
    assert opened.status == 0x808C_0000
    assert math.isnan(opened.value)


def test_detectors_and_signals_have_episodes_of_their_own() -> None:
    episodes = Episodes()
    episodes.take(event(OPENED, LEVEL))
    episodes.take(event(OPENED, STUCK))
    episodes.take(event(OPENED, LEVEL, signal=1))
    ended = one(episodes.take(event(CLOSED, LEVEL, after_s=1)))
    assert (ended.signal, ended.detector) == (0, "level")
    assert [(a.signal, a.detector) for a in episodes.open()] == [(0, "stuck"), (1, "level")]


def test_an_end_without_a_beginning_is_nothing() -> None:
    episodes = Episodes()
    assert episodes.take(event(CLOSED)) == []
    assert episodes.regained(0, START) is None


def test_a_connection_is_lost_and_regained() -> None:
    episodes = Episodes()
    lost = episodes.lost(7, START, "cable")
    assert (lost.severity, lost.reason, episodes.open()) == ("alarm", "cable", [lost])
    back = episodes.regained(7, START + SECOND)
    assert back is not None
    assert back.ended_ns == START + SECOND
    assert episodes.open() == []


def test_open_anomalies_survive_json_and_fields_of_a_newer_version() -> None:
    episodes = Episodes()
    episodes.take(event(OPENED, value=60.0, low=44.0, high=56.0))
    episodes.lost(7, START, "cable")
    documents = json.loads(json.dumps(episodes.documents()))
    again = Episodes([{**document, "from_the_future": 1} for document in documents])
    assert repr(again.open()) == repr(episodes.open())


def test_an_id_is_the_same_whenever_it_is_made_and_another_for_another_start() -> None:
    first = Anomaly(3, "level", START, START, 1.0)
    assert first.id("press-01/force") == "683a5a710086"
    ids = {
        first.id("press-01/force"),
        first.id("press-02/force"),
        Anomaly(3, "stuck", START, START, 1.0).id("press-01/force"),
        Anomaly(3, "level", START + 1, START, 1.0).id("press-01/force"),
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("ratio", "score", "severity"),
    [(1.0, 0.5, "warning"), (1.99, 0.936, "warning"), (2.0, 0.9375, "alarm"),
     (1e300, 1.0, "alarm"), (math.inf, 1.0, "alarm")],
)  # fmt: skip
def test_a_score_lies_between_a_half_and_one_whatever_the_evidence(
    ratio: float, score: float, severity: str
) -> None:
    anomaly = Anomaly(0, "level", START, START, ratio)
    assert anomaly.score == pytest.approx(score, abs=1e-3)
    assert anomaly.severity == severity
