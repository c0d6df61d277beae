"""Compiled loops over columns: numpy and numba only, state in, state out.

Numba keeps compiled code on disk, but does not notice when a function called from another file has
changed. So the folder it keeps it in is named after all kernel sources together: a changed kernel
never meets old code. `NUMBA_CACHE_DIR`, `CACHE_DIRECTORY` (systemd's) or `XDG_CACHE_HOME` move it;
where none of them nor the home folder can be written, nothing is kept and each start compiles anew.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numba


def _sources_hash(folder: Path) -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    """The first place that can be written; else one that lasts as long as this process."""
    sources = _sources_hash(Path(__file__).parent)
    bases = [os.environ.get(name) for name in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY")]
    bases += [os.environ.get("XDG_CACHE_HOME"), "~/.cache"]
    for base in filter(None, bases):
        try:
            folder = Path(base).expanduser() / "andon" / f"kernels-{sources}"
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # a user may have no home at all
            continue
        if os.access(folder, os.W_OK):
            return folder
    passing = tempfile.mkdtemp(prefix="andon-kernels-")
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    return Path(passing)


numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]
