"""Files of the folder `pki`: whole or not there at all, and never another user's.

Enters: bytes. Leaves: files of mode 0600 in folders of mode 0700, which belong to the user of the
data folder also where root's hand made them: the service must read them. Fails: ConfigError.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.errors import ConfigError

FILE_BYTES_MAX: Final = 1 << 20
"""Larger files are no certificates."""


def read(file: Path) -> bytes | None:
    """Its content; None where it is not there."""
    with _said(file):
        try:
            with file.open("rb") as opened:
                return opened.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return None


def files(folder: Path) -> list[Path]:
    """Its files, none where it is not there; the one that changed last is last."""
    found = []
    with _said(folder), suppress(FileNotFoundError):
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # another process has just taken it away
                if not file.name.startswith(".") and file.is_file():
                    found.append((file.stat().st_mtime_ns, file))
    return [file for _, file in sorted(found)]


def put(file: Path, content: bytes) -> None:
    """Write it, or exchange it, in one step."""
    with _said(file), _written(file, content) as made:
        made.replace(file)


def fill(file: Path, content: bytes) -> bool:
    """Write it where there is none; False where there is."""
    with _said(file), _written(file, content) as made:
        try:
            os.link(made, file)
        except FileExistsError:
            return False
    return True


def remove(file: Path) -> None:
    """Delete it."""
    with _said(file):
        file.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make it and what is above it."""
    with _said(folder):
        if not folder.parent.is_dir():
            make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            _give(folder)


@contextmanager
def _written(file: Path, content: bytes) -> Iterator[Path]:
    """A file beside it with the content, durable; gone afterwards where it was not taken."""
    make_folder(file.parent)
    number, name = tempfile.mkstemp(prefix=".", dir=file.parent)  # mode 0600
    made = Path(name)
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(number)
        _give(made)
        yield made
        _sync(file.parent)
    finally:
        made.unlink(missing_ok=True)


def _give(path: Path) -> None:
    """To the user of the folder it is in, where root made it."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """As errors a person can act on."""
    try:
        yield
    except PermissionError as error:
        raise ConfigError(
            f"{error.filename or path}: permission denied",
            "run it as the service's user, such as `sudo -u andon andon trust ...`, or as root",
        ) from None
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror or error}") from None
