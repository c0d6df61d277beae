"""A server in a thread whose endpoints, certificate and users each test sets anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Final

import pytest
from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor
from asyncua.server.user_managers import UserManager

from agent.config import OpcuaConfig
from agent.errors import SourceRefused
from agent.sources.opcua.client import GuardedClient
from agent.sources.opcua.security import secure
from agent.trust import Trust
from tests.agent.trust.certificates import SERVER_URI, Pair

POLICIES = ua.SecurityPolicyType
NONE = POLICIES.NoSecurity
STRONG = (
    POLICIES.Basic256Sha256_Sign,
    POLICIES.Basic256Sha256_SignAndEncrypt,
    POLICIES.Aes128Sha256RsaOaep_Sign,
    POLICIES.Aes128Sha256RsaOaep_SignAndEncrypt,
    POLICIES.Aes256Sha256RsaPss_Sign,
    POLICIES.Aes256Sha256RsaPss_SignAndEncrypt,
)
ANYBODY = (ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken)
PASSWORD = "sesam-öffne-dich"
USER: Final[dict[str, Any]] = {"user": "operator", "password": PASSWORD}
CONNECT_S = 10


class Users(UserManager):
    """Who may log in: anybody without a name, `operator` with the password, one certificate."""

    def __init__(self) -> None:
        self.certificate = b""
        self.seen: list[tuple[str | None, str | None]] = []

    def get_user(
        self, _: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        self.seen.append((username, password))
        if username is not None and (username, password) != ("operator", PASSWORD):
            return None
        if self.certificate and certificate != self.certificate:
            return None
        return User(role=UserRole.User)


class SecuredServer:
    """asyncua's server; `offer` sets what the next connection finds."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.users = Users()
        self._server: Server = self._call(self._open()).result(30)

    @property
    def url(self) -> str:
        assert self._server.bserver is not None
        return f"opc.tcp://127.0.0.1:{self._server.bserver.port}/press"

    @property
    def internal(self) -> Any:
        """asyncua's inner server."""
        return self._server.iserver

    def offer(
        self,
        pair: Pair | None,
        policies: Sequence[ua.SecurityPolicyType] = STRONG,
        tokens: Sequence[type] = ANYBODY,
        validator: Any = None,
    ) -> None:
        """Have this certificate, these endpoints and these identities."""
        self.users.certificate = b""
        self.users.seen.clear()
        self._call(self._offer(pair, policies, tokens, validator)).result(5)

    def stop(self) -> None:
        self._call(self._close()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _open(self) -> Server:
        server = Server(user_manager=self.users)
        await server.init()
        await server.set_application_uri(SERVER_URI)
        server.set_endpoint("opc.tcp://127.0.0.1:0/press")
        server.set_security_policy([NONE])
        server.disable_clock()
        await server.start()
        return server

    async def _offer(
        self, pair: Pair | None, policies: Sequence[Any], tokens: Sequence[type], validator: Any
    ) -> None:
        server, inner = self._server, self._server.iserver
        inner.certificate = pair.certificate if pair else None
        inner.private_key = pair.key if pair else None
        inner.certificate_validator = validator
        inner.endpoints.clear()
        server._policies = []
        server.set_identity_tokens(list(tokens))
        server.set_security_policy(list(policies))
        await server._setup_server_nodes()
        assert server.bserver is not None
        server.bserver.set_policies(server._policies)

    async def _close(self) -> None:
        await self._server.stop()
        left = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _call(self, call: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(call, self._loop)


def config_of(url: str, **options: Any) -> OpcuaConfig:
    return OpcuaConfig.model_validate(
        {
            "name": "press", "endpoint": url, "machine": "press-01",
            "connect_timeout_s": CONNECT_S,
            "signals": ({"name": "ram_force", "node": "ns=2;s=press-01.ram_force"},),
            **options,
        }
    )  # fmt: skip


async def connect(config: OpcuaConfig, trust: Trust | None) -> tuple[str, str]:
    """What was agreed on, and what the session reads; raises as a source's `connect` would."""
    client = GuardedClient(config.endpoint, config.connect_timeout_s)
    try:
        async with asyncio.timeout(config.connect_timeout_s):
            said = await secure(client, config, trust)
            await client.connect()
            namespaces = await client.get_namespace_array()
            await client.end(delete_subscriptions=True)
            return said, namespaces[1]
    finally:
        client.abort()


def kind(name: str) -> ua.SecurityPolicyType:
    return getattr(POLICIES, name)  # type: ignore[no-any-return]


def opened(plc: SecuredServer, trust: Trust | None, **options: Any) -> str:
    """What was agreed on, of a session that reads."""
    said, namespace = asyncio.run(connect(config_of(plc.url, **options), trust))
    assert namespace == SERVER_URI
    return said


def refused(plc: SecuredServer, trust: Trust, **options: Any) -> SourceRefused:
    with pytest.raises(SourceRefused) as caught:
        asyncio.run(connect(config_of(plc.url, **options), trust))
    return caught.value


def lie(server: SecuredServer, monkeypatch: Any, shown: Sequence[int]) -> None:
    """Have discovery hide all endpoints but these; sessions tell the truth."""
    inner, truth = server.internal, server.internal.get_endpoints

    async def discovery(params: Any = None, sockname: Any = None) -> list[Any]:
        endpoints = await truth(params, sockname)
        return [endpoints[number] for number in shown]

    async def session(_: Any, params: Any = None, sockname: Any = None) -> list[Any]:
        return list(await truth(params, sockname))

    monkeypatch.setattr(inner, "get_endpoints", discovery)
    monkeypatch.setattr(InternalSession, "get_endpoints", session)


def hang_up(monkeypatch: Any) -> None:
    """Have servers close a connection that asks for a secure channel, as some do without trust."""
    _instead(monkeypatch, lambda processor, _: processor._transport.abort())


def deny(monkeypatch: Any, code: int) -> None:
    """Have servers answer a fault to whoever asks for a secure channel, as others do."""

    def answer(processor: Any, sequence: Any) -> None:
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(code))
        processor.send_response(1, sequence, fault, ua.MessageType.SecureOpen)

    _instead(monkeypatch, answer)


def _instead(monkeypatch: Any, answer: Callable[[Any, Any], None]) -> None:
    truth = UaProcessor.open_secure_channel

    def open_or_not(self: UaProcessor, header: Any, sequence: Any, body: Any) -> None:
        if header.SecurityPolicyURI.endswith("#None"):
            truth(self, header, sequence, body)  # type: ignore[no-untyped-call]
        else:
            answer(self, sequence)

    monkeypatch.setattr(UaProcessor, "open_secure_channel", open_or_not)
