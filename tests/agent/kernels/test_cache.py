"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agent import kernels

ROOT = Path(__file__).parents[3]
SHOW = "import agent.kernels.windows, numba; print(numba.config.CACHE_DIR)"


def cache_folder(**environ: str) -> Path:
    """Where a process with this environment keeps its kernels."""
    names = ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY", "XDG_CACHE_HOME")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=ROOT, env=inherited | environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.strip())


def test_the_folder_is_named_after_the_sources_below_the_first_place_given(tmp_path: Path) -> None:
    folder = cache_folder(CACHE_DIRECTORY=str(tmp_path / "service"), HOME=str(tmp_path / "home"))
    assert folder.parent == tmp_path / "service" / "andon"
    assert folder.name.startswith("kernels-")


def test_a_user_without_a_home_compiles_anew_and_leaves_nothing_behind(tmp_path: Path) -> None:
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    folder = cache_folder(HOME=str(not_a_folder))
    assert folder.name.startswith("andon-kernels-")
    assert not folder.exists()


def test_a_change_in_a_folder_of_kernels_changes_the_name_too(tmp_path: Path) -> None:
    inner = tmp_path / "opcua"
    inner.mkdir()
    names = {kernels._sources_hash(tmp_path)}
    for content in ("one", "other"):
        (inner / "kernel.py").write_text(content)
        names.add(kernels._sources_hash(tmp_path))
    assert len(names) == 3
