"""The agent's clock follows the system's, and never goes back."""

from __future__ import annotations

import logging

import pytest

from agent.pipeline.clock import STEP_NS, Clock

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


class Two:
    """A system's clock and a monotonic one, moved by the test."""

    def __init__(self) -> None:
        self.wall_ns, self.monotonic_ns = START, 5 * SECOND
        self.clock = Clock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def passes(self, seconds: float, step_s: float = 0.0) -> int:
        passed_ns = round(seconds * SECOND)
        self.monotonic_ns += passed_ns
        self.wall_ns += passed_ns + round(step_s * SECOND)
        return self.clock.now_ns()


def test_it_says_what_the_system_says() -> None:
    two = Two()
    for _ in range(10):
        assert two.passes(0.3) == two.wall_ns
    assert two.clock.steps == 0


def test_a_step_forward_is_followed_at_once_and_said(caplog: pytest.LogCaptureFixture) -> None:
    two = Two()
    with caplog.at_level(logging.WARNING, "andon.clock"):
        assert two.passes(1, step_s=86_400) == two.wall_ns
    assert two.clock.steps == 1
    assert "stepped 86400.0 s forward" in caplog.text


def test_after_a_step_back_it_goes_on_slower_until_the_system_has_caught_up() -> None:
    two = Two()
    before_ns = two.clock.now_ns()
    after_ns = two.passes(1, step_s=-10)
    assert after_ns - before_ns == 9 * SECOND // 10
    assert two.clock.ahead_ns == pytest.approx(9.9 * SECOND)
    last_ns = after_ns
    for _ in range(120):
        now_ns = two.passes(1)
        assert now_ns > last_ns
        last_ns = now_ns
    assert last_ns == two.wall_ns
    assert two.clock.steps == 1


def test_a_clock_that_is_slewed_is_not_one_that_steps() -> None:
    two = Two()
    last_ns = two.clock.now_ns()
    for _ in range(1000):
        now_ns = two.passes(0.1, step_s=-0.005)
        assert now_ns >= last_ns
        last_ns = now_ns
    assert two.clock.steps == 0
    assert last_ns - two.wall_ns < STEP_NS


def test_every_step_is_counted_once() -> None:
    two = Two()
    for step_s in (-30, 0, -30, 0, 5, 0):
        two.passes(1, step_s=step_s)
    assert two.clock.steps == 3
