"""`andon bench mqtt`: what a message costs, from a broker to `Batch`.

Enters: how long to measure. Leaves: figures by name, medians of several runs. A publisher in a
process of its own keeps mosquitto busy; clients read, each in a process of its own, one after
another: our source, paho's `on_message`, and one that only counts bytes. What the broker uses of
the processor is measured in the same moments.
What can fail: mosquitto is not there, or one of those processes ends, AndonError.

As much is published as the client and the broker bear, no more: at most `publisher.AHEAD_MAX`
samples are on the way, so that the broker drops nothing and all it does is done for what arrives.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from agent.cli.bench import client
from agent.cli.bench.client import Task
from agent.cli.bench.mqtt import broker

RUNS: Final = 3
WARM_S: Final = 1.0
PUBLISHERS: Final = 4
BUSY_SHARE: Final = 0.85
"""Of a core: a process that uses so much has little more to give."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One client, what is published to it, and how."""

    way: str
    what: Literal["values", "metrics"] = "values"
    qos: int = 0
    publishers: int = 1


TRIALS: Final = {
    "andon": Trial("andon"),
    "several": Trial("andon", publishers=PUBLISHERS),
    "qos1": Trial("qos1", qos=1),
    "qos1_20": Trial("qos1_20", qos=1),
    "paho": Trial("paho"),
    "bare": Trial("bare"),
    "wire": Trial("sparkplug", what="metrics"),
    "decoder": Trial("sparkplug_decoder"),
}

FIGURES: Final = {
    "agent_us_per_message": ("agent's processor, JSON, QoS 0", "us each"),
    "messages_per_s": ("messages a second by the clock", ""),
    "broker_us_per_message": ("mosquitto's processor in the same moments", "us each"),
    "ratio_broker": ("agent's processor over mosquitto's", ""),
    "agent_cpu_share": ("of a core, the agent", "%"),
    "broker_cpu_share": ("mosquitto", "%"),
    "publisher_cpu_share": ("the publisher", "%"),
    f"agent_us_per_message_{PUBLISHERS}": (
        f"{PUBLISHERS} publishers: agent's processor",
        "us each",
    ),
    f"messages_per_s_{PUBLISHERS}": ("messages a second by the clock", ""),
    f"broker_us_per_message_{PUBLISHERS}": ("mosquitto's processor", "us each"),
    f"ratio_broker_{PUBLISHERS}": ("agent's processor over mosquitto's", ""),
    "qos1_us_per_message": ("QoS 1 over MQTT 5: agent's processor", "us each"),
    "qos1_messages_per_s": ("messages a second by the clock", ""),
    "qos1_broker_us_per_message": ("mosquitto's processor", "us each"),
    "qos1_20_us_per_message": ("QoS 1 over MQTT 3.1.1, at most 20 in flight", "us each"),
    "qos1_20_messages_per_s": ("messages a second by the clock", ""),
    "paho_us_per_message": ("paho's on_message: processor", "us each"),
    "paho_messages_per_s": ("messages a second by the clock", ""),
    "ratio_paho": ("our source is cheaper by a factor of", ""),
    "broker_messages_per_s": ("mosquitto can offer, messages a second", ""),
    "sparkplug_us_per_metric": ("Sparkplug, 500 metrics a message, decoded", "us each"),
    "sparkplug_metrics_per_s": ("metrics a second and core", ""),
    "sparkplug_wire_us_per_metric": ("through mosquitto: agent's processor", "us each"),
    "sparkplug_wire_metrics_per_s": ("metrics a second by the clock", ""),
}
"""What a figure is, and its unit."""


def measure(seconds: float) -> dict[str, float]:
    """Each client for so long, several times. Raises AndonError where one fails."""
    runs = [
        _figures({name: _run(trial, seconds) for name, trial in TRIALS.items()})
        for _ in range(RUNS)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in FIGURES}


def profile(seconds: float) -> list[dict[str, Any]]:
    """Where our source's time goes in the event loop's thread: the most costly functions.

    A loop over messages in Python would show as one with 1,000 calls for 1,000 messages. What
    paho's thread does is not in it.
    """
    rows: list[dict[str, Any]] = _run(TRIALS["andon"], seconds, profile=True)["profile"]
    return rows


def bottleneck(figures: Mapping[str, float]) -> str:
    """Who had no more to give while our source was measured, in a sentence."""
    shares = {name: figures[f"{name}_cpu_share"] for name in ("agent", "broker", "publisher")}
    busiest = max(shares, key=lambda name: shares[name])
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    who = f"the {busiest}" if shares[busiest] >= BUSY_SHARE else "no process alone"
    return f"{who} is the bottleneck: {said} of a core; {os.cpu_count()} cores are here"


def _figures(took: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """A round's figures, from what each client took."""
    andon, decoder = took["andon"], took["decoder"]
    shares = {"agent": andon["cpu_share"], **andon["others_cpu_share"]}
    figures = {f"{name}_cpu_share": share for name, share in shares.items()}
    for name, ending in (("andon", ""), ("several", f"_{PUBLISHERS}")):
        run = took[name]
        figures[f"agent_us_per_message{ending}"] = run["us_each"]
        figures[f"messages_per_s{ending}"] = run["per_s"]
        figures[f"broker_us_per_message{ending}"] = _broker_us(run)
        figures[f"ratio_broker{ending}"] = run["us_each"] / _broker_us(run)
    for name in ("qos1", "qos1_20", "paho"):
        figures[f"{name}_us_per_message"] = took[name]["us_each"]
        figures[f"{name}_messages_per_s"] = took[name]["per_s"]
    return figures | {
        "qos1_broker_us_per_message": _broker_us(took["qos1"]),
        "ratio_paho": took["paho"]["us_each"] / andon["us_each"],
        "broker_messages_per_s": took["bare"]["per_s"],
        "sparkplug_us_per_metric": decoder["us_each"],
        "sparkplug_metrics_per_s": 1e6 / decoder["us_each"],
        "sparkplug_wire_us_per_metric": took["wire"]["us_each"],
        "sparkplug_wire_metrics_per_s": took["wire"]["per_s"],
    }


def _broker_us(run: Mapping[str, Any]) -> float:
    """What a message cost the broker."""
    share, per_s = run["others_cpu_share"]["broker"], run["per_s"]
    return float(share / per_s * 1e6)


def _run(trial: Trial, seconds: float, *, profile: bool = False) -> dict[str, Any]:
    """What a client took on a broker of its own."""
    with (
        tempfile.NamedTemporaryFile(prefix="andon-bench-") as counts,
        broker.running() as (port, process),
        _publishing(trial, port, counts.name) as publisher,
    ):
        task = Task(
            trial.way, f"mqtt://127.0.0.1:{port}", WARM_S, seconds, profile,
            {"broker": process, "publisher": publisher}, counts.name,
        )  # fmt: skip
        return client.run("mqtt", [task])[0]


@contextmanager
def _publishing(trial: Trial, port: int, counts: str) -> Iterator[int]:
    """The process id of a publisher, while it runs."""
    words = port, trial.what, trial.qos, trial.publishers, counts
    command = [sys.executable, "-m", f"{__name__}.publisher", *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as publisher:
        try:
            yield publisher.pid
        finally:
            publisher.terminate()
