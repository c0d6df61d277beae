"""The statements of `schema.sql`, by name."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

SCHEMA_VERSION: Final = 1


def _named() -> dict[str, str]:
    text = files(__package__).joinpath("schema.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


SQL: Final = _named()
