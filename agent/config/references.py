"""References in strings: what stands outside the file is put in, and secrets must stand outside.

${NAME}             the environment variable NAME
${NAME:-default}    the same, or the default where it is not set or empty
${credential:NAME}  the systemd credential NAME, a file in $CREDENTIALS_DIRECTORY
$${                 the two characters themselves
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agent.config.document import Document
from agent.config.positions import KeyPath
from agent.config.problems import SECRETS, WHOLE_REFERENCE, Problem, dotted, written

CREDENTIAL_BYTES_MAX: Final = 1_000_000
"""systemd.exec(5): a credential has at most 1 MB."""

_REFERENCE: Final = re.compile(
    r"\$\$\{|\$\{(?:"
    r"credential:(?P<credential>[A-Za-z0-9_.-]+)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?"
    r")\}|(?P<other>\$\{[^}]*\}?)"
)


class _Missing(Exception):
    """A reference leads nowhere: a sentence, and what to do."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.hint = hint


def fill_in(document: Document, environ: Mapping[str, str]) -> tuple[Any, list[Problem]]:
    """The document's tree with references filled in and lists as tuples, and what went wrong.

    A string with a problem stays as it is written.
    """
    problems: list[Problem] = []

    def filled(path: KeyPath, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled((*path, key), inner) for key, inner in value.items()}
        if isinstance(value, list):
            return tuple(filled((*path, index), inner) for index, inner in enumerate(value))
        try:
            _refuse_literal_secret(path, value)
            return _filled_text(value, environ) if isinstance(value, str) else value
        except _Missing as missing:
            sentence = f"{dotted(path)} is {written(path, value)}; {missing}"
            problems.append(Problem(path, sentence, document.place(path), missing.hint))
            return value

    return filled((), document.tree), problems


def _refuse_literal_secret(path: KeyPath, value: Any) -> None:
    if path[-1:] not in SECRETS or WHOLE_REFERENCE.fullmatch(str(value)):
        return
    name = f"ANDON_{path[-1]}".upper()
    raise _Missing(
        "a secret must be a reference, so that it is not in the file",
        f'write {path[-1]} = "${{{name}}}" and set that variable, '
        f'or {path[-1]} = "${{credential:{path[-1]}}}" with LoadCredential= in the systemd unit',
    )


def _filled_text(text: str, environ: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda match: _filled(match, environ), text)


def _filled(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match.group() == "$${":
        return "${"
    if match["other"]:
        raise _Missing(
            "that is no reference",
            "a reference is ${NAME}, ${NAME:-default} or ${credential:NAME}; "
            "for the characters ${ themselves write $${",
        )
    if name := match["credential"]:
        return _credential(name, environ)
    name, default = match["name"], match["default"]
    if default is not None:
        return environ.get(name) or default
    if name not in environ:
        raise _Missing(
            f"the environment variable {name} is not set",
            f"set {name} where the agent starts; a service takes it from Environment= or "
            f"EnvironmentFile= in its unit",
        )
    return environ[name]


def _credential(name: str, environ: Mapping[str, str]) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise _Missing(
            "there are no credentials here: CREDENTIALS_DIRECTORY is not set",
            f"systemd sets it with LoadCredential={name}:/path/of/the/secret in the unit; "
            f"in a shell set it to a folder with the file {name}",
        )
    path = Path(folder, name)
    hint = f"put it there with LoadCredential={name}:/path/of/the/secret in the systemd unit"
    try:
        with path.open("rb") as file:
            raw = file.read(CREDENTIAL_BYTES_MAX + 1)
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _Missing(f"the credential {path} cannot be read: {why}", hint) from error
    if len(raw) > CREDENTIAL_BYTES_MAX:
        raise _Missing(f"the credential {path} has more than {CREDENTIAL_BYTES_MAX:,} bytes", hint)
    return text.removesuffix("\n").removesuffix("\r")
