"""A broker for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hardware.line.broker import start_broker


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    broker = start_broker("mosquitto")
    yield broker.port
    broker.stop()
