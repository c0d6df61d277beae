"""One process that serves: opens everything in order, says so once, and stops cleanly.

Enters: settings. Leaves: `Ready`, told once the port is listening; then requests until SIGTERM or
SIGINT. Fails: `BindError`, `DataFolderError`, `UsageError`, each before anything was told or made.

Stopping: streams end, requests in flight are answered (for `GRACE_S_MAX` at most), what waits is
committed, the database closes. A second signal does not wait for requests.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import uvicorn

from cloud.access.credentials import Credentials, login_url, read_token_file
from cloud.app import create_app
from cloud.errors import BindError, UsageError
from cloud.live.stream import Hub
from cloud.settings import Settings
from cloud.store.store import Store

GRACE_S_MAX = 2
HEADER_BYTES_MAX = 32_768
CONNECTIONS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Ready:
    """What is told when the server listens; tokens only at the first start, when they are made."""

    url: str
    board_url: str
    write_token: str | None
    read_token: str | None
    pid: int

    def as_event(self) -> dict[str, object]:
        """The one object of `--json`."""
        return {"event": "ready", **asdict(self)}


def serve(settings: Settings, told: Callable[[Ready], None]) -> None:
    """Serve until a signal ends it.

    Raises
    ------
    BindError, DataFolderError, UsageError

    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    _check_tls(settings)
    with _bind(settings.host, settings.port) as listener:
        store = Store(settings)
        try:
            credentials = Credentials(settings)
            made = credentials.create_first_tokens(_preset(settings))
        except BaseException:
            store.close()
            raise
        app = create_app(settings, store, credentials)
        write_token, read_token = made or (None, None)
        url = settings.url(listener.getsockname()[1])
        credentials.remember_url(url)

        def listening() -> None:
            code = credentials.create_login_code()
            told(Ready(url, login_url(url, code), write_token, read_token, os.getpid()))

        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S_MAX,
            limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        asyncio.run(_Server(config, app.state.hub, listening).serve([listener]))


class _Server(uvicorn.Server):
    """uvicorn that says when it listens and leaves with 0; alone it re-raises the signal."""

    def __init__(self, config: uvicorn.Config, hub: Hub, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        yield

    def _leave(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._hub.close()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        way_out = {
            errno.EADDRINUSE: "; another process has it; --port 0 takes a free one",
            errno.EACCES: "; ports below 1024 need a privilege, give another with --port",
        }.get(error.errno or 0, "; give an address of this machine with --host")
        raise BindError(f"{host}:{port} cannot be bound: {error.strerror}{way_out}") from None
    return listener


def _check_tls(settings: Settings) -> None:
    """Fail before anything is opened; uvicorn reads the files again when it starts."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key} cannot be used:"
            f" {error.strerror or error}"
        ) from None


def _preset(settings: Settings) -> str | None:
    preset = settings.write_token.get_secret_value() if settings.write_token else None
    if settings.write_token_file is not None:
        if preset is not None:
            raise UsageError("give either ANDON_CLOUD_WRITE_TOKEN or --write-token-file, not both")
        preset = read_token_file(settings.write_token_file)
    return preset
