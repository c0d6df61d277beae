"""Tokens, one-time login codes and browser sessions, in one small SQLite file beside the database.

Enters: secrets as people and programs present them. Leaves: `Identity`, or nothing. Fails:
`UsageError` for a token that cannot be made, `DataFolderError` when the file cannot be used.

Only SHA-256 hashes are kept. That is right here and would be wrong for passwords: every secret is
32 random bytes made by us, so there is nothing to guess and slow hashing would only slow each
request; a token given by an administrator must be long for the same reason. SQLite lets
`andon-cloud token` and `login-url` work on the folder of a running server: each request asks the
file, so a revoked token is refused at once, and a code is deleted in the statement that finds it,
so it works once however many ask.
"""

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cloud.errors import DataFolderError, UsageError
from cloud.settings import Settings

FILE_NAME = "access.sqlite"
SECRET_BYTES = 32
TOKEN_CHARS_MIN = 20
BUSY_S_MAX = 5.0

Scope = Literal["read", "write"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS token (
    id TEXT PRIMARY KEY, hash TEXT UNIQUE NOT NULL, scope TEXT NOT NULL, org TEXT NOT NULL,
    bucket TEXT NOT NULL, made_s INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS login_code (hash TEXT PRIMARY KEY, until_s INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS session (hash TEXT PRIMARY KEY, until_s INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS server (id INTEGER PRIMARY KEY CHECK (id = 1), url TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: a token bound to an organisation and a bucket, or a browser's session."""

    name: str
    scope: Scope
    org: str
    bucket: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What can be told of a token; the secret itself is not kept. `made_s` is UTC seconds."""

    id: str
    scope: str
    org: str
    bucket: str
    made_s: int


class Credentials:
    """The open credentials file; safe in any thread."""

    def __init__(self, settings: Settings, *, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._lock = threading.Lock()
        path = settings.data / FILE_NAME
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._file = sqlite3.connect(
                path, timeout=BUSY_S_MAX, isolation_level=None, check_same_thread=False
            )
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DataFolderError(
                f"the data folder {path.parent} cannot be used: {error};"
                " give a folder this user may write with --data"
            ) from None

    def create_token(self, scope: Scope, secret: str | None = None) -> str:
        """Make a token and return its secret, which is shown this once.

        Raises
        ------
        UsageError : `secret` is short or known already, or `tokens_max` is reached.

        """
        if secret is not None and len(secret) < TOKEN_CHARS_MIN:
            raise UsageError(
                f"a token needs at least {TOKEN_CHARS_MIN} characters, better 32 random bytes"
            )
        if len(self.tokens()) >= self._settings.tokens_max:
            raise UsageError("tokens_max is reached; revoke one with `andon-cloud token revoke ID`")
        secret = secret or _secret()
        row = (
            secrets.token_hex(4),
            _hash(secret),
            scope,
            self._settings.org,
            self._settings.bucket,
            int(self._now_s()),
        )
        try:
            self._run("INSERT INTO token VALUES (?, ?, ?, ?, ?, ?)", *row)
        except sqlite3.IntegrityError:
            raise UsageError("this token is known already") from None
        return secret

    def create_first_tokens(self, write_secret: str | None) -> tuple[str, str] | None:
        """A write and a read token at the first start on this folder; None ever after.

        Both are made or none, so that a start that fails is not the first one.

        Raises
        ------
        UsageError : as `create_token` does.

        """
        if self._run("PRAGMA user_version")[0][0]:
            return None
        self._run("BEGIN IMMEDIATE")
        try:
            made = self.create_token("write", write_secret), self.create_token("read")
            self._run("PRAGMA user_version = 1")
            self._run("COMMIT")
        except BaseException:
            self._run("ROLLBACK")
            raise
        return made

    def remember_url(self, url: str) -> None:
        """Note where the server listens, for links made beside it."""
        self._run("INSERT OR REPLACE INTO server VALUES (1, ?)", url)

    def url(self) -> str | None:
        """Where the server of this folder listens, or did last; None before its first start."""
        rows = self._run("SELECT url FROM server")
        return str(rows[0][0]) if rows else None

    def tokens(self) -> list[TokenRow]:
        """All tokens, oldest first."""
        sql = "SELECT id, scope, org, bucket, made_s FROM token ORDER BY made_s, rowid"
        return [TokenRow(*row) for row in self._run(sql)]

    def revoke(self, token_id: str) -> bool:
        """Forget a token; whether it was there."""
        return bool(self._run("DELETE FROM token WHERE id = ? RETURNING id", token_id))

    def by_token(self, secret: str) -> Identity | None:
        """Who presents this token."""
        sql = "SELECT id, scope, org, bucket FROM token WHERE hash = ?"
        rows = self._run(sql, _hash(secret))
        return Identity(f"token {rows[0][0]}", *rows[0][1:]) if rows else None

    def create_login_code(self) -> str:
        """A code that opens one session, once, within `login_code_s`."""
        return self._issue(
            "login_code", self._settings.login_code_s, self._settings.login_codes_max
        )

    def exchange(self, code: str) -> str | None:
        """The secret of a new session for a valid code, which is used up; None otherwise."""
        sql = "DELETE FROM login_code WHERE hash = ? RETURNING until_s"
        rows = self._run(sql, _hash(code))
        if not rows or rows[0][0] <= self._now_s():
            return None
        return self._issue("session", self._settings.session_s, self._settings.sessions_max)

    def by_session(self, secret: str) -> Identity | None:
        """Who presents this session cookie; sessions read."""
        sql = "SELECT until_s FROM session WHERE hash = ?"
        hashed = _hash(secret)
        rows = self._run(sql, hashed)
        if not rows or rows[0][0] <= self._now_s():
            return None
        return Identity(f"session {hashed[:8]}", "read", self._settings.org, self._settings.bucket)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _issue(self, table: str, life_s: int, rows_max: int) -> str:
        secret, now_s = _secret(), int(self._now_s())
        # `table` is one of the two names above, never text from outside.
        self._run(f"DELETE FROM {table} WHERE until_s <= ?", now_s)  # noqa: S608
        self._run(
            f"DELETE FROM {table} WHERE hash NOT IN "  # noqa: S608
            f"(SELECT hash FROM {table} ORDER BY until_s DESC, rowid DESC LIMIT ?)",
            rows_max - 1,
        )
        self._run(f"INSERT INTO {table} VALUES (?, ?)", _hash(secret), now_s + life_s)  # noqa: S608
        return secret

    def _run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._file.execute(sql, values).fetchall()


def login_url(url: str, code: str) -> str:
    """The link that opens the board once."""
    return f"{url}/login?code={code}"


def read_token_file(path: Path) -> str:
    """The token in a file, without surrounding white space.

    Raises
    ------
    UsageError : the file cannot be read.

    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--write-token-file {path} cannot be read: {error}") from None


def _secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
