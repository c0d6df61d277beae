"""How property tests run: the same examples each time, and no deadline on busy machines."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("andon", derandomize=True, deadline=None)
settings.load_profile("andon")
