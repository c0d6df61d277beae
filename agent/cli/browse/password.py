"""The password of a user who logs in to browse: from the environment, else from a person."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import typer

from agent.__main__ import INTERRUPTED
from agent.cli.init import interactive
from agent.cli.terminal import say

if TYPE_CHECKING:
    from pydantic import SecretStr


def password_of(user: str, password_env: str) -> SecretStr | None:
    """From the environment, else from a person who can be asked."""
    from pydantic import SecretStr

    said = os.environ.get(password_env)
    if said is None and interactive():
        said = _asked(user)
    elif said is None:
        say(f"{password_env} is not set: {user} logs in without a password")
    return SecretStr(said) if said else None


def _asked(user: str) -> str:
    # `main` ends the process at once at Ctrl-C, which would leave the terminal without echo.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    text = f"Password of {user}"
    try:
        return str(typer.prompt(text, "", hide_input=True, show_default=False, err=True))
    except typer.Abort:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)
