"""Revisions: late samples are pending until they are told, each window once, `rev` ever higher."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from agent.batch import Batch
from agent.derive import NO_CHECKPOINT, Derive, DetectSettings
from agent.derive.revisions import Revisions
from agent.ledger import SampleLedger
from agent.lines import WINDOW
from agent.signals import SECOND_NS
from tests.agent.derive.plant import START, Plant, moving, signal

NEVER = np.full(9, np.iinfo(np.int64).min)


def rows(*windows: tuple[int, int]) -> Any:
    made = np.zeros(len(windows), WINDOW)
    made["signal"], made["start_ns"] = zip(*windows, strict=True)
    made["n"] = np.arange(len(windows))
    return made


def test_a_late_sample_is_pending_until_its_window_is_told_anew() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 1.0)], START + 3 * SECOND_NS)
    plant.take("opc", [(0, START + SECOND_NS, 5.0)])
    plant.derive.collect()
    samples = plant.derive.samples
    assert (samples.pending, samples.derived) == (1, 1)
    (one, two) = plant.derive.revise()
    assert (samples.pending, samples.derived, samples.balanced) == (0, 2, True)
    assert [one["n"], one["mean"], one["rev"]] == [1, 5.0, 1]
    assert [two["n"], two["mean"], two["rev"]] == [0, 5.0, 1]
    assert len(plant.derive.revise()) == 0


def test_each_revision_of_a_window_has_the_next_number() -> None:
    plant = Plant()
    plant.take("opc", [(0, START, 1.0)], START + SECOND_NS)
    for number in range(1, 5):
        plant.take("opc", [(0, START + number, 1.0)])
        plant.collect()
    assert [(row["rev"], row["n"]) for row in plant.rows] == [(i, i + 1) for i in range(5)]


def test_a_bounded_revision_goes_on_with_the_next_one_and_the_ledger_with_it() -> None:
    plant = Plant(*(signal(f"s{i}") for i in range(4)))
    plant.derive = Derive(
        plant.table, DetectSettings(), SampleLedger(), NO_CHECKPOINT, revised_rows_max=1
    )
    plant.take("opc", [(i, START, 1.0) for i in range(4)], START + 5 * SECOND_NS)
    late = [(i, START + 1 + k, 2.0) for k in range(200) for i in range(4)]
    plant.take("opc", [(i, START + 9, 2.0) for i in range(4)])
    plant.take("opc", late)
    for _ in range(4):
        plant.collect()
        told = sum(row["n"] for row in plant.newest.values())
        assert told == plant.derive.samples.derived
    assert plant.derive.samples.pending == 0
    assert plant.derive.samples.balanced


def test_of_a_window_told_twice_the_last_is_kept() -> None:
    numbered = Revisions().number(rows((1, 50), (0, 50), (1, 50)), NEVER)
    assert numbered[["signal", "n", "rev"]].tolist() == [(0, 1, 1), (1, 2, 1)]


def test_revisions_are_counted_by_signal_and_window() -> None:
    revisions = Revisions()
    revisions.number(rows((0, 1), (1, 1)), NEVER)
    numbered = revisions.number(rows((1, 2), (1, 1), (0, 2)), NEVER)
    assert {(row["signal"], row["start_ns"]): row["rev"] for row in numbered} == {
        (1, 2): 1, (1, 1): 2, (0, 2): 1,
    }  # fmt: skip


def test_windows_that_cannot_change_any_more_are_forgotten() -> None:
    revisions = Revisions()
    revisions.number(rows((0, 1), (0, 2), (1, 1)), np.array([2, 0]))
    assert revisions.known[["signal", "start_ns"]].tolist() == [(0, 2), (1, 1)]


def test_what_was_forgotten_early_goes_on_from_the_highest_number() -> None:
    revisions = Revisions(revisions_max=2)
    for start_ns in (1, 1, 1, 2, 3):
        revisions.number(rows((0, start_ns)), NEVER)
    assert revisions.known["start_ns"].tolist() == [2, 3]
    assert revisions.number(rows((0, 1)), NEVER)["rev"].tolist() == [4]


@pytest.mark.parametrize("signals", [20])
def test_a_day_of_back_fill_takes_seconds_and_loses_nothing(signals: int) -> None:
    day_s = 86_400
    plant = Plant(*(signal(f"s{i}", every_ns=10 * SECOND_NS) for i in range(signals)))
    plant.take("opc", [(i, START, 1.0) for i in range(signals)], START + SECOND_NS)
    plant.derive.lose("opc", "cable", START)
    now_ns = START + day_s * SECOND_NS
    plant.derive.pass_time("opc", now_ns)
    plant.collect()
    ids = np.arange(signals, dtype=np.int32)
    began_s = time.process_time()
    for begin_s in range(1, day_s, 3600):
        seconds = np.arange(begin_s, min(begin_s + 3600, day_s))
        times = START + np.repeat(seconds, signals) * SECOND_NS
        plant.derive.take("opc", Batch(
            np.tile(ids, len(seconds)), times, np.sin(times / 1e12),
            np.zeros(len(times), np.uint32), now_ns,
        ))  # fmt: skip
        plant.collect()
    assert time.process_time() - began_s < 20
    ledger = plant.derive.samples
    assert ledger.received == signals * day_s == ledger.derived + ledger.pending
    newest: dict[tuple[int, int], int] = {}
    for block in plant.windows:
        keys = zip(block["signal"].tolist(), block["start_ns"].tolist(), strict=True)
        newest.update(zip(keys, block["n"].tolist(), strict=True))
    assert sum(newest.values()) == ledger.derived


def test_detectors_see_late_samples_as_before() -> None:
    plant, other = Plant(), Plant()
    for one in (plant, other):
        one.take("opc", moving(0, 30.0), START + 30 * SECOND_NS)
    plant.take("opc", [(0, START + 20 * SECOND_NS + 1, 900.0)])
    plant.collect()
    other.collect()
    assert plant.anomalies == other.anomalies == []
