"""NodeIds as text that survives a server's restart: by the URI of their namespace.

Enters: NodeIds as asyncua has them, and texts such as `nsu=urn:acme;s=Press.Force` (OPC 10000-6,
5.1.12). Leaves: the one as the other. A URI with a semicolon cannot be told from what follows; such
NodeIds keep their namespace's number.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence

from asyncua import ua

from agent.sources.opcua.session import node_of


class Namespaces:
    """The namespaces of one server, in its order."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.uris = tuple(uris)

    def uri(self, index: int) -> str:
        """The URI of a namespace; "" where the server lists none."""
        return self.uris[index] if index < len(self.uris) else ""

    def text(self, node: ua.NodeId) -> str:
        """A NodeId as text."""
        index = node.NamespaceIndex
        uri = getattr(node, "NamespaceUri", None) or self.uri(index)
        identifier = _identifier(node.Identifier)
        if uri == self.uri(0) or not (uri or index):
            return identifier
        return f"nsu={uri};{identifier}" if uri and ";" not in uri else f"ns={index};{identifier}"

    def node(self, text: str) -> ua.NodeId | None:
        """A NodeId from text; None where the server has no such namespace."""
        return node_of(text, self.uris)


def _identifier(value: object) -> str:
    if isinstance(value, int):
        return f"i={value}"
    if isinstance(value, uuid.UUID):
        return f"g={value}"
    if isinstance(value, bytes):
        return f"b={base64.b64encode(value).decode()}"
    return f"s={value}"
