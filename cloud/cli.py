"""The command `andon-cloud`.

Enters: options and `ANDON_CLOUD_*`. Leaves: data on stdout, talk on stderr. Fails: with the exit
codes of `cloud.errors.ExitCode` and one message that says what to do.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud import VERSION, settings
from cloud.access import credentials as access
from cloud.access.credentials import Credentials
from cloud.errors import CloudError, DataFolderError, ExitCode, UsageError

app = typer.Typer(
    help="The Andon cloud: takes lines from gateways, keeps them, shows them live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
tokens = typer.Typer(
    help="Tokens of programs that write or read.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(tokens, name="token")

Data = Annotated[Path | None, typer.Option(help="Its folder [andon-cloud-data].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ScopeName(StrEnum):
    """What a token may do."""

    READ = "read"
    WRITE = "write"


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port, 0 for a free one [8086].")] = None,
    data: Data = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    write_token_file: Annotated[
        Path | None, typer.Option(help="Presets the first write token.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take writes, answer reads and show the board, until SIGTERM or Ctrl-C."""
    with _clear_errors():
        chosen = settings.load(
            host=host,
            port=port,
            data=data,
            tls_cert=tls_cert,
            tls_key=tls_key,
            write_token_file=write_token_file,
        )
        from cloud import serve as serving  # a second of imports that no other command needs

        def told(ready: serving.Ready) -> None:
            event = ready.as_event()
            _out(json.dumps(event) if as_json else _friendly(event))

        serving.serve(chosen, told)


@app.command("login-url")
def login_url(
    data: Data = None,
    url: Annotated[
        str | None, typer.Option(help="The server's address, if not the one it listens on.")
    ] = None,
) -> None:
    """Print a fresh link to the board; it works once."""
    with _clear_errors(), _credentials(data) as credentials:
        where = url or credentials.url()
        if where is None:
            raise UsageError("no server has been started on this folder; give its address: --url")
        _out(access.login_url(where.rstrip("/"), credentials.create_login_code()))


@tokens.command("create")
def create_token(
    scope: Annotated[ScopeName, typer.Option(help="What it may do.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, this once."""
    with _clear_errors(), _credentials(data) as credentials:
        secret = credentials.create_token(scope.value)
        _out(json.dumps({"scope": scope.value, "token": secret}) if as_json else secret)


@tokens.command("list")
def list_tokens(data: Data = None, as_json: Json = False) -> None:
    """List tokens; their secrets are not kept."""
    with _clear_errors(), _credentials(data) as credentials:
        for token in credentials.tokens():
            made = datetime.fromtimestamp(token.made_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            row = {"id": token.id, "scope": token.scope, "org": token.org, "bucket": token.bucket}
            row["made"] = made
            _out(json.dumps(row) if as_json else "  ".join(f"{text:<8}" for text in row.values()))


@tokens.command("revoke")
def revoke_token(token_id: Annotated[str, typer.Argument(metavar="ID")], data: Data = None) -> None:
    """Revoke a token; a running server refuses it from now on."""
    with _clear_errors(), _credentials(data) as credentials:
        if not credentials.revoke(token_id):
            raise UsageError(f"there is no token {token_id}; see `andon-cloud token list`")


@app.command()
def version() -> None:
    """Print the version."""
    _out(VERSION)


@contextmanager
def _credentials(data: Path | None) -> Iterator[Credentials]:
    chosen = settings.load(data=data)
    if not (chosen.data / access.FILE_NAME).is_file():
        raise DataFolderError(
            f"there is no {access.FILE_NAME} in {chosen.data}; give the folder of a server"
            " that was started before with --data"
        )
    credentials = Credentials(chosen)
    try:
        yield credentials
    finally:
        credentials.close()


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except CloudError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.OK) from None


def _friendly(ready: dict[str, Any]) -> str:
    lines = [
        f"Andon cloud at {ready['url']}",
        f"board (this link works once): {ready['board_url']}",
    ]
    if ready["write_token"]:
        lines += [
            f"write token: {ready['write_token']}",
            f"read token:  {ready['read_token']}",
            "Keep the tokens now; only their hashes are stored.",
        ]
    return "\n".join([*lines, "Ctrl-C stops it."])


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    app()
