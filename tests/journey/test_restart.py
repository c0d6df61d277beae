"""The cloud goes away in the middle: nothing is lost, nothing is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cloud.server import until
from tests.journey.plant import columns, plant

LINE = ("run", "--embedded-broker", "--control", "--seed", "5")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_cloud_that_was_away_holds_every_line_once(tmp_path: Path, how: str) -> None:
    with plant(tmp_path, line=LINE) as it:
        it.line.say("start")
        it.line.event("started")
        until(lambda: it.received() > 500, 30)
        if how == "killed":
            it.cloud.kill()
        else:
            it.cloud.stop()
        at = it.received()
        until(lambda: it.received() > at + 500, 30)
        waiting = it.status()["ledger"]["lines"]["waiting"]
        it.cloud.restart()
        until(lambda: it.status()["ledger"]["lines"]["waiting"] < waiting / 2, 30)
        sent, final = it.finish()
        ledger = final["ledger"]
        windows = columns(it.cloud, "windows")
        texts = columns(it.cloud, "samples")["text"]
        outbox = it.cloud.get("/v1/gateways")["gateways"][0]

    assert waiting > 50
    assert ledger["balanced"]
    assert ledger["samples"]["received"] == sent
    assert ledger["samples"]["dropped"] == {}
    assert ledger["lines"]["acknowledged"] == ledger["lines"]["made"]
    identities = list(
        zip(
            windows["machine"], windows["signal"], windows["every"], windows["time_ns"], strict=True
        )
    )
    assert len(identities) == len(set(identities)) == final["windows"]
    assert sum(windows["n"]) + len(texts) == ledger["samples"]["derived"]
    assert outbox["received"] == [[1, ledger["lines"]["made"]]]
    assert outbox["holes"] == []
