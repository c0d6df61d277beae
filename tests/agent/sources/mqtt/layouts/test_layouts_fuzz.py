"""Learned layouts against the general decoder: the same samples, or left to it.

`ANDON_FUZZ_MINUTES=5` runs the random part for so long instead of over the suite's few hundred,
each time from another seed, which is said when it fails.
"""

from __future__ import annotations

import os
import time
from typing import Final

import pytest

from agent.sources.mqtt.layouts import Layouts
from tests.agent.sources.mqtt.layouts.examples import cases, check, config

CASES: Final = 1_000
SLOW_S: Final = 2.0


@pytest.mark.timeout(0)
def test_thousands_of_payloads_are_read_as_the_general_decoder_reads_them_or_left_to_it() -> None:
    minutes = float(os.environ.get("ANDON_FUZZ_MINUTES", "0"))
    seed = time.time_ns() if minutes else 20_260_802
    until_s = time.monotonic() + 60 * minutes
    count = learned = done = 0
    check(Layouts(), config(json={"value": "v"}), False, b'{"v":1}', [])  # compiles
    for how, of_topic, taught, others in cases(seed):
        layouts = Layouts()
        started_s = time.monotonic()
        try:
            more_learned, more_done = check(layouts, how, of_topic, taught, others)
        except Exception as error:
            said = f"seed {seed}, case {count:,}: {how!r} {of_topic} {taught!r} {others!r}"
            raise AssertionError(said) from error
        assert time.monotonic() - started_s < SLOW_S
        learned, done, count = learned + more_learned, done + more_done, count + 1
        if count >= CASES and time.monotonic() >= until_s:
            break
    assert learned > count // 20  # else it would prove nothing
    print(f"{count:,} payloads from seed {seed}: {learned:,} learned, {done:,} decoded")
