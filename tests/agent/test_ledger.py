"""The ledger: what balances, what does not, and what is written down."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from agent.ledger import Ledger, LineLedger, SampleLedger


def samples() -> SampleLedger:
    filtered, dropped = Counter(late=3, same_time=1), Counter(restart_gap=2)
    beside = Counter(clock_ahead=7), Counter(server_queue=5), Counter(history=6)
    return SampleLedger(20, 10, filtered, dropped, 4, *beside)


def test_samples_balance_when_each_is_accounted_for_once() -> None:
    assert SampleLedger().balanced
    assert samples().balanced


@pytest.mark.parametrize("field", ["received", "derived", "pending"])
@pytest.mark.parametrize("error", [1, -1])
def test_one_sample_too_many_or_too_few_unbalances_the_ledger(field: str, error: int) -> None:
    ledger = samples()
    setattr(ledger, field, getattr(ledger, field) + error)
    assert not ledger.balanced


def test_causes_count_and_pending_is_never_negative() -> None:
    ledger = samples()
    ledger.filtered["late"] += 1
    assert not ledger.balanced
    ledger.received += 1
    assert ledger.balanced
    assert not SampleLedger(received=1, derived=2, pending=-1).balanced


def test_a_copy_is_not_touched_by_later_counting() -> None:
    ledger = samples()
    copy = ledger.copy()
    ledger.filtered["late"] += 1
    ledger.dropped["queue"] += 1
    ledger.retimed["clock_behind"] += 1
    ledger.missed["outage"] += 1
    ledger.recovered["held"] += 1
    ledger.received += 2
    assert copy == samples()


def test_samples_written_as_json_are_read_back_the_same() -> None:
    assert SampleLedger.from_document(json.loads(json.dumps(samples().document()))) == samples()
    assert SampleLedger.from_document({}) == SampleLedger()


def lines() -> LineLedger:
    return LineLedger(13, 5, 2, 1, Counter(rejected=2), Counter(quota=2, age=1))


def test_lines_balance_when_each_is_accounted_for_once() -> None:
    assert lines().balanced
    for field in ("made", "acknowledged", "waiting", "replaced"):
        ledger = lines()
        setattr(ledger, field, getattr(ledger, field) + 1)
        assert not ledger.balanced
    for causes in ("dead_letter", "dropped"):
        ledger = lines()
        getattr(ledger, causes)["other"] += 1
        assert not ledger.balanced
    assert not LineLedger(made=1, acknowledged=2, waiting=-1).balanced


def test_lines_written_as_json_are_read_back_the_same() -> None:
    assert LineLedger.from_document(json.loads(json.dumps(lines().document()))) == lines()
    copy = lines().copy()
    copy.dropped["quota"] += 1
    assert copy != lines()


def test_the_whole_balances_only_when_both_sides_do() -> None:
    assert Ledger(samples(), LineLedger(1, 1)).balanced
    assert not Ledger(samples(), LineLedger(1, 0)).balanced
    assert not Ledger(SampleLedger(received=1), LineLedger()).balanced
