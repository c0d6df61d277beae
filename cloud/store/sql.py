"""SQL by name.

Enters: a `.sql` file of this folder whose blocks start with `-- name: <name>`. Leaves: the text of
each block. Fails: `KeyError` for a name that is not there, which is a programmer's mistake.
"""

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def blocks(file: str) -> dict[str, str]:
    """All blocks of `file` (such as `queries.sql`) by name, in the order of the file."""
    parts = _NAME.split((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True))


def query(name: str) -> str:
    """The block `name` of `queries.sql`."""
    return blocks("queries.sql")[name]
