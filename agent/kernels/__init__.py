"""Compiled loops over columns: numpy and numba only, state in, state out.

Numba keeps compiled code on disk, but does not notice when a function called from another file has
changed. So the folder it keeps it in is named after all kernel sources together: a changed kernel
never meets old code. `NUMBA_CACHE_DIR` or `XDG_CACHE_HOME` move it; where nothing can be written,
nothing is kept and the next start compiles again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba


def _sources_hash() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    return root / "andon" / f"kernels-{_sources_hash()}"


numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]
