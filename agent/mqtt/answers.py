"""What brokers, and the way to them, answer; in words, with a way out.

Enters: paho's reason codes and the end of a client. Leaves: a sentence, a hint, and whether it is
a no that somebody must mend (refused) or may pass by itself.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.reasoncodes import ReasonCode

from agent.config.mqtt import BrokerTable
from agent.mqtt.client import UNKNOWN_VERSION, End

_PASSING: Final = ("Server unavailable", "Server busy", "Connection rate exceeded")
"""MQTT 5.0, table 3-1: states that end by themselves."""
_WAY: Final = "is the broker running, is the port right, does a firewall stand between?"
_ACCOUNT: Final = "check user, password and the broker's access list"
_CERTIFICATE: Final = "check certificate and key, and that the broker knows their authority"
_SHOW_ONE: Final = "set certificate and key"
_WEBSOCKETS: Final = "check port and path: ws://host:port/path, /mqtt as a rule"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    refused : somebody must come; else it is worth another try
    """

    refused: bool
    sentence: str
    hint: str = ""


def of_reason(broker: BrokerTable, reason: ReasonCode) -> Answer:
    """A CONNACK, SUBACK or PUBACK that says no."""
    name = str(reason)
    if name in _PASSING:
        return Answer(False, f"{broker.name}: {broker.url} does not answer: {name}", _WAY)
    hint = _ACCOUNT
    if name == "Client identifier not valid":
        hint = "the broker allows only certain client ids: set client_id"
    elif name == UNKNOWN_VERSION:
        hint = 'set version = "3.1.1" or version = "5", as the broker has it'
    return Answer(True, f"{broker.name}: {broker.url} refuses: {name}", hint)


def of_end(broker: BrokerTable, end: End, *, opened: bool) -> Answer:
    """A connection that ended, or never came about.

    opened : it had been accepted by the broker
    """
    error = end.error
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(broker, error)
    if isinstance(error, ssl.SSLError):
        return _tls(broker, error)
    if opened:
        return _lost(broker, end)
    hint = _WAY
    reason = "the connection was closed"
    if isinstance(error, socket.gaierror):
        reason, hint = f"its name cannot be resolved ({error.strerror})", "check the url and DNS"
    elif isinstance(error, WebsocketConnectionError):
        reason, hint = "it does not speak WebSockets there", _WEBSOCKETS
        if broker.certificate is not None:  # some servers say no to one by hanging up
            hint += "; does it take our certificate?"
    elif isinstance(error, TimeoutError):
        reason = "timed out"
    elif isinstance(error, ConnectionResetError):
        reason = error.strerror or str(error)
        hint = "is it a port without TLS?" if broker.tls else "does it want TLS: mqtts://?"
        hint = f"{_WAY[:-1]}, {hint}"
    elif error is not None:
        reason = getattr(error, "strerror", "") or str(error) or type(error).__name__
    elif end.reason is not None and end.by_broker:
        reason = str(end.reason)
    elif broker.certificate is None and broker.tls:
        hint = f"does the broker want a client certificate? {_WAY}"
    return Answer(False, f"{broker.name}: {broker.url} does not answer: {reason}", hint)


def _lost(broker: BrokerTable, end: End) -> Answer:
    why, hint = "", ""
    if end.by_broker and end.reason is not None:
        why = f": the broker ended it: {end.reason}"
        if str(end.reason) == "Session taken over":
            hint = "another client uses the same client id; give each its own"
    elif end.silent:
        why = ": the broker says nothing any more"
    elif end.error is not None:
        why = f": {end.error or type(end.error).__name__}"
    return Answer(False, f"{broker.name}: the connection to {broker.url} is lost{why}", hint)


def _untrusted(broker: BrokerTable, error: ssl.SSLCertVerificationError) -> Answer:
    sentence = f"{broker.name}: the certificate of {broker.url} is not good: {error.verify_message}"
    if "ostname mismatch" in error.verify_message or "IP address" in error.verify_message:
        hint = "use the name that stands in the certificate, or verify_name = false"
    elif "expired" in error.verify_message or "not yet valid" in error.verify_message:
        hint = "renew it at the broker, or set the gateway's clock"
    else:
        hint = 'name the authority that issued it: ca = "/etc/andon/broker-ca.pem"'
    return Answer(True, sentence, hint)


def _tls(broker: BrokerTable, error: ssl.SSLError) -> Answer:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "certificate required" in reason and broker.certificate is None:
        return Answer(True, f"{broker.name}: {broker.url} wants a client certificate", _SHOW_ONE)
    if "alert" in reason and ("certificate" in reason or "unknown ca" in reason):
        return Answer(
            True, f"{broker.name}: {broker.url} refuses our certificate: {reason}", _CERTIFICATE
        )
    if "wrong version number" in reason or "record layer" in reason or "http request" in reason:
        return Answer(
            False,
            f"{broker.name}: {broker.url} does not speak TLS there: {reason}",
            "use the broker's TLS port, 8883 as a rule, or mqtt:// for its plain one",
        )
    return Answer(False, f"{broker.name}: no TLS with {broker.url}: {reason}", _WAY)
