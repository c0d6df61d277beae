"""How tests run: the same examples each time, and no deadline hit by the compiler."""

from __future__ import annotations

import numba
import pytest
from hypothesis import settings

settings.register_profile("andon", derandomize=True, deadline=None)
settings.load_profile("andon")
"""Property tests see the same examples each time, and have no deadline on busy machines."""


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """The kernels are compiled, once after each change of one, before a test has to be quick."""
    from agent.cli.service import warm_up
    from agent.sources.mqtt import warming
    from agent.sources.opcua.wire import Decoder

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return
    warm_up()
    warming.warm_up()
    Decoder()
