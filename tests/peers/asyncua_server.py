"""asyncua's OPC UA server, as a process that is told what to do: `node_opcua/server.mjs`'s twin.

Enters: options as one JSON argument (see `Options`), then commands, one JSON object a line, on
stdin. Leaves: one JSON line on stdout when it is ready, {"port": ...}, and one for each command.
The process ends with its stdin. What asyncua cannot: it never sets the overflow bit, says nothing
of nodes that are deleted, and publishes what was transferred to the connection that was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server import address_space, internal_server
from asyncua.server.history import HistoryDict
from cryptography.x509.oid import ExtendedKeyUsageOID

NAMESPACE: Final = "urn:andon:peer"
URI: Final = "urn:127.0.0.1:andon:peer"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
POLICIES: Final = {
    "None": ua.SecurityPolicyType.NoSecurity,
    "Basic256Sha256": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
}


@dataclass(frozen=True)
class Options:
    port: int = 0
    pki: str = ""
    users: dict[str, str] = field(default_factory=dict)
    anonymous: bool = True
    security: tuple[str, ...] = ("None", "Basic256Sha256")
    variables: int = 10
    historized: int = 0
    without: tuple[str, ...] = ()


class Clock(datetime):
    """The server's clock, which may be wrong."""

    offset = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.offset


class Peer:
    """The server and its variables, `s=v0` and so on, Doubles."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.server = Server(user_manager=self)  # type: ignore[arg-type]
        self.nodes: dict[str, ua.NodeId] = {}
        self.history = HistoryDict()
        self.counters: dict[str, tuple[asyncio.Task[None], list[int]]] = {}
        self.space = 0

    def get_user(self, *_: Any, username: str | None, password: str | None, **__: Any) -> Any:
        """Who that is; None for nobody we know. Certificates are all accepted."""
        known = username is None or self.options.users.get(username) == password
        return User(UserRole.User) if known else None

    async def open(self) -> int:
        """Serve; its port."""
        options, server = self.options, self.server
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{options.port}/peer")
        await server.set_application_uri(URI)
        server.set_security_policy([POLICIES[name] for name in options.security])
        tokens: list[Any] = [ua.UserNameIdentityToken, ua.X509IdentityToken]
        server.set_identity_tokens([*tokens, *[ua.AnonymousIdentityToken] * options.anonymous])
        if options.security != ("None",):
            await self._certify(Path(options.pki))
        self.space = await server.register_namespace(NAMESPACE)
        server.iserver.history_manager.set_storage(self.history)
        self.machine = await server.nodes.objects.add_object(
            self._at("press-01"), ua.QualifiedName("press-01", self.space)
        )
        for number in range(options.variables):
            if f"v{number}" not in options.without:
                await self.add(f"v{number}")
        await server.start()
        assert server.bserver is not None
        for endpoint in server.iserver.endpoints:  # made before the free port was known
            endpoint.EndpointUrl = f"opc.tcp://127.0.0.1:{server.bserver.port}/peer"
        return int(server.bserver.port)

    async def add(self, node: str) -> None:
        number = int(node[1:])
        at = self._at(node)
        name = ua.QualifiedName(node, self.space)
        made = await self.machine.add_variable(at, name, 0.0, ua.VariantType.Double)
        self.nodes[node] = at
        if number < self.options.historized:
            await self.history.new_historized_node(at, None)
            await made.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            await made.set_attr_bit(ua.AttributeIds.UserAccessLevel, ua.AccessLevel.HistoryRead)
        await self.set(node, number)

    async def remove(self, node: str) -> None:
        await self.server.delete_nodes([self.server.get_node(self.nodes.pop(node))])

    async def set(
        self, node: str, value: float, status: int = 0, time_ms: float | None = None
    ) -> None:
        stamp: Any = Clock.now(UTC)
        if time_ms is not None:
            stamp = EPOCH + timedelta(microseconds=round(time_ms * 1000))
        number = ua.Variant(float(value), ua.VariantType.Double)
        data = ua.DataValue(number, ua.StatusCode(ua.UInt32(status)), stamp, stamp)
        space, at = self.server.iserver.aspace, self.nodes[node]
        await space.write_attribute_value(at, ua.AttributeIds.Value, data)
        if at in self.history._datachanges:
            await self.history.save_node_value(at, data)

    async def sweep(self, value: float) -> dict[str, int]:
        for name in self.nodes:
            await self.set(name, value + int(name[1:]))
        return {"nodes": len(self.nodes)}

    async def burst(self, node: str, start: int, count: int) -> None:
        for value in range(start, start + count):
            await self.set(node, value)

    async def count(self, node: str, start: int, every_ms: float) -> None:
        reached = [start]

        async def run() -> None:
            while True:
                if node in self.nodes:
                    await self.set(node, reached[0])
                    reached[0] += 1
                await asyncio.sleep(every_ms / 1000)

        self.counters[node] = asyncio.create_task(run()), reached

    async def uncount(self, node: str) -> dict[str, int]:
        task, reached = self.counters.pop(node)
        task.cancel()
        return {"next": reached[0]}

    async def mute(self) -> dict[str, int]:
        """The present subscriptions say nothing any more."""
        subscriptions = self.server.iserver.subscription_service.subscriptions.values()
        for one in subscriptions:
            one.publish_results = _silent  # type: ignore[method-assign,assignment]
        return {"subscriptions": len(subscriptions)}

    async def expire(self, subscriptions: bool) -> dict[str, int]:
        sessions = list(self.server.iserver._external_sessions.values())
        for session in sessions:
            await session.close_session(subscriptions)
        return {"sessions": len(sessions)}

    async def clock(self, offset_ms: float) -> None:
        Clock.offset = timedelta(milliseconds=offset_ms)
        for module in (address_space, internal_server, ua.uaprotocol_auto):
            module.datetime = Clock  # type: ignore[attr-defined]

    async def state(self) -> dict[str, Any]:
        subscriptions = self.server.iserver.subscription_service.subscriptions
        return {
            "sessions": len(self.server.iserver._external_sessions),
            "subscriptions": len(subscriptions),
            "items": [
                len(one.monitored_item_srv._monitored_items) for one in subscriptions.values()
            ],
        }

    def _at(self, name: str) -> ua.NodeId:
        return ua.NodeId(ua.String(name), ua.Int16(self.space))

    async def _certify(self, folder: Path) -> None:
        key, certificate = folder / "key.pem", folder / "cert.der"
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = {"commonName": "peer"}
        await setup_self_signed_certificate(key, certificate, URI, "127.0.0.1", usage, names)
        await self.server.load_certificate(str(certificate))
        await self.server.load_private_key(str(key))


async def _silent(*_: Any) -> bool:
    return False


async def main() -> None:
    logging.disable(logging.CRITICAL)
    given = json.loads(sys.argv[1])
    peer = Peer(Options(**{name: _frozen(value) for name, value in given.items()}))
    _say({"port": await peer.open()})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            _say(await getattr(peer, command.pop("do"))(**command) or {})
        except Exception as error:
            _say({"error": repr(error)})
    with suppress(TimeoutError):
        await asyncio.wait_for(peer.server.stop(), 1.0)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
