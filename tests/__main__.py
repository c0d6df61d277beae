"""`python -m tests`: installs what the tests need of the system and npm, then lint, types, tests.

Arguments are handed to pytest: `python -m tests tests/agent -k outbox`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cloud.web.build_hook import VendorError
from tests.peers import npm

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "mosquitto": "/usr/sbin/mosquitto",
    "chromium": "/usr/bin/chromium",
    "victoria-metrics": "/usr/bin/victoria-metrics",
}
"""Debian packages and the program by which each is known to be there."""


def install_system_packages() -> None:
    missing = [name for name, program in PACKAGES.items() if not Path(program).exists()]
    if not missing:
        return
    print(f"-- installing {' '.join(missing)}", flush=True)
    if shutil.which("apt-get") is None:
        sys.exit(f"error: install {' '.join(missing)}; this is done by itself on Debian only")
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    environ = ["env", "DEBIAN_FRONTEND=noninteractive"]
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", *missing]):
        command = [*prefix, *environ, "apt-get", *arguments]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"error: {' '.join(command)} failed; see above")


def install_peers() -> None:
    """What the tests speak to and npm brings; it prints nothing when all is there."""
    try:
        for peer in npm.PEERS:
            npm.install(peer)
    except (npm.NpmError, VendorError) as error:
        sys.exit(f"error: {error}")


def run(title: str, command: list[str], **environ: str) -> int:
    print(f"-- {title}", flush=True)
    python = [sys.executable, "-m", *command]
    return subprocess.run(python, cwd=ROOT, env={**os.environ, **environ}).returncode


def main(arguments: list[str]) -> int:
    install_system_packages()
    install_peers()
    codes = []
    if not arguments:
        codes = [
            run("lint", ["ruff", "check"]),
            run("format", ["ruff", "format", "--check"]),
            run("types", ["mypy"]),
            run(
                "kernels without the compiler",
                ["pytest", "-q", "tests/agent/kernels"],
                NUMBA_DISABLE_JIT="1",
            ),
        ]
    # Once, or both processes below would do it.
    codes.append(run("compiling", ["tests.conftest"]))
    # Most tests wait for servers: two at a time take little more than half as long.
    codes.append(run("tests", ["pytest", *(arguments or ("-n", "2", "--dist", "loadfile"))]))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
