"""How a kernel with more to say than its scratch rows hold says it in several goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


def drain(step: Callable[[int], tuple[int, int]], size: int, out: Array) -> list[Array]:
    """Run `step(begin)`, which fills `out` and answers (rows filled, next begin), up to `size`.

    A step may stay where it is as long as it has more to say. Raises ValueError where `out` cannot
    hold what one row of the input may say.
    """
    blocks: list[Array] = []
    begin = 0
    while begin < size:
        count, next_begin = step(begin)
        if next_begin == begin and count == 0:
            raise ValueError(f"scratch of {out.size} rows is too small for this kernel")
        begin = next_begin
        if count:
            blocks.append(out[:count].copy())
    return blocks
