"""The command `andon`, and `python -m agent`.

Loading takes a second; Ctrl-C in it ends the command without a word. Commands that must tidy up put
their own handlers in place before they open anything.
"""

from __future__ import annotations

import os
import signal
from typing import Final

INTERRUPTED: Final = 130
"""What a shell calls a command that SIGINT ended."""


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from agent.cli import app

    app(prog_name="andon")


if __name__ == "__main__":
    main()
