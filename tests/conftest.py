"""How tests run: the same examples each time, and no deadline hit by the compiler."""

from __future__ import annotations

import numba
import pytest
from hypothesis import settings

settings.register_profile("andon", derandomize=True, deadline=None)
settings.load_profile("andon")
"""Property tests see the same examples each time, and have no deadline on busy machines."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """The kernels are compiled, once after each change of one, before a test's time begins."""
    options = session.config.option
    distributes = bool(getattr(options, "numprocesses", None))  # its workers come here, too
    is_interpreted = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    if not (is_interpreted or distributes or options.collectonly):
        compile_kernels()


def compile_kernels() -> None:
    """Compile the kernels, or load them."""
    from agent.cli.service import warm_up
    from agent.sources.mqtt import warming
    from agent.sources.opcua.wire import Decoder

    warm_up()
    warming.warm_up()
    Decoder()


if __name__ == "__main__":
    compile_kernels()
