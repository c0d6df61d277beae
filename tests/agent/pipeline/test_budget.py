"""The commit interval follows the write budget."""

from __future__ import annotations

import pytest

from agent.pipeline.budget import DAY_S, INTERVAL_MAX_S, INTERVAL_MIN_S, WriteBudget

COMMIT_BYTES = 20_000


def run(budget: WriteBudget, payload_bytes_per_s: float, hours: float = 2.0) -> None:
    """A disk that is asked for so much a commit, and so much a second whatever the interval."""
    now_s, written = 0.0, 0.0
    while now_s < hours * 3600:
        now_s += budget.interval_s
        written += COMMIT_BYTES + payload_bytes_per_s * budget.interval_s
        budget.look(round(written), now_s)


def test_the_interval_settles_where_the_disk_is_asked_for_its_budget() -> None:
    budget = WriteBudget(1.6e9, None, 0.0)
    run(budget, payload_bytes_per_s=10_000)
    assert budget.bytes_per_day == pytest.approx(1.6e9, rel=0.1)
    wanted_s = COMMIT_BYTES / (1.6e9 / DAY_S - 10_000)
    assert budget.interval_s == pytest.approx(wanted_s, rel=0.1)


def test_a_quiet_gateway_commits_often_but_not_without_end() -> None:
    budget = WriteBudget(1e12, None, 0.0)
    run(budget, payload_bytes_per_s=0, hours=0.1)
    assert budget.interval_s == INTERVAL_MIN_S


def test_more_data_than_the_budget_is_written_all_the_same_and_said() -> None:
    budget = WriteBudget(1.6e9, None, 0.0)
    run(budget, payload_bytes_per_s=100_000)
    assert budget.interval_s == INTERVAL_MAX_S
    assert budget.is_over
    assert budget.gb_per_day == pytest.approx(8.8, rel=0.05)


def test_a_fixed_interval_is_kept_and_what_it_costs_is_said() -> None:
    budget = WriteBudget(1.6e9, 0.1, 0.0)
    run(budget, payload_bytes_per_s=0, hours=0.5)
    assert budget.interval_s == 0.1
    assert budget.gb_per_day == pytest.approx(17.28, rel=0.01)
