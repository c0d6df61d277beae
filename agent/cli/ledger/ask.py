"""Asks the cloud of a sink what it has received of this outbox.

Enters: the configuration's sinks, and a token of the environment instead of theirs. Leaves: a
`Proof` for each. What cannot be asked says why: a far side that is no Andon cloud keeps no account
of line ids and is skipped; one that does not answer, or refuses, leaves its error in the proof.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3

from agent.cli.ledger.compare import Proof, Sent, compare
from agent.config import Config, InfluxdbConfig
from agent.errors import AndonError, ConfigError, SinkRefused
from agent.sinks.influxdb.answers import refusal, silence
from agent.sinks.influxdb.flavours import AUTO, recognised

ANSWER_BYTES_MAX: Final = 16 << 20
"""An account of ten thousand intervals takes half a megabyte."""


_NOTHING: Final = {"received": [], "void": [], "void_total": 0, "repeats": 0, "holes_forgotten": 0}


@dataclass(frozen=True, slots=True)
class FarSide:
    """One sink, as far as it is asked; the token may write or read."""

    name: str
    url: str
    token: str
    timeout_s: float
    flavour: str


def far_sides(
    sinks: Iterable[InfluxdbConfig], token_env: str = "", environ: Mapping[str, str] = os.environ
) -> list[FarSide]:
    """The sinks, with the token in the variable `token_env` where that is given.

    Raises ConfigError where there is none.
    """
    if token_env and not environ.get(token_env):
        raise ConfigError(
            f"--token-env is {token_env!r}; there is no such variable, or it is empty",
            f"export {token_env} with a token of the cloud: the gateway's own, or one that reads",
        )
    return [
        FarSide(
            sink.name,
            sink.url.rstrip("/"),
            environ[token_env] if token_env else sink.token.get_secret_value(),
            sink.timeout_s,
            sink.flavour,
        )
        for sink in sinks
    ]


def brokers(config: Config) -> list[Proof]:
    """The sinks that cannot be asked at all."""
    why = "an MQTT broker keeps no account of line ids"
    return [Proof(sink.name, sink.url, why) for sink in (*config.sparkplug, *config.uns)]


def proof_of(side: FarSide, outbox: str, sent: Sent) -> Proof:
    """What the far side says of this outbox, compared with what the outbox says."""
    proof = Proof(side.name, side.url)
    try:
        flavour = _flavour(side)
        if flavour != "andon":
            proof.skipped = f"{flavour} keeps no account of line ids"
            return proof
        account = _account(side, outbox)
    except AndonError as error:
        proof.error = error
        return proof
    return compare(proof, sent, account)


def _flavour(side: FarSide) -> str:
    return side.flavour if side.flavour != AUTO else recognised(_get(side, "/ping").headers).name


def _account(side: FarSide, outbox: str) -> dict[str, Any]:
    answer = _get(side, f"/v1/gateways?outbox={outbox}")
    if answer.status != 200:
        raise refusal(
            answer.status, answer.headers, answer.body, name=side.name, url=side.url, lines=0
        )
    try:
        accounts = json.loads(answer.body)["gateways"]
        return _NOTHING | (accounts[0] if accounts else {})
    except (ValueError, KeyError, TypeError):
        raise SinkRefused(
            f"{side.url} answered with something else than an account of this outbox",
            "another server answers there; check the url and the way to it",
        ) from None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def _get(side: FarSide, path: str) -> _Answer:
    """The answer, names of headers in lower case. Raises SinkUnreachable."""
    headers = {"Authorization": f"Bearer {side.token}"}
    try:
        with urllib3.PoolManager(timeout=side.timeout_s, retries=False) as pool:
            answer = pool.request(
                "GET", side.url + path, headers=headers, redirect=False, preload_content=False
            )
            body = answer.read(ANSWER_BYTES_MAX)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise silence(side.url, error, side.timeout_s) from error
    return _Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
