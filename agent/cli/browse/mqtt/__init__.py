"""Browsing an MQTT broker: what comes in a while, as tables of topics.

Enters: a broker's table and what of it is wished for. Leaves: TOML or JSON on stdout, talk on
stderr. Fails: AndonError.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.cli.browse.mqtt.broker import by_address, is_filter, own_nodes
from agent.cli.browse.mqtt.progress import Listening
from agent.cli.run import configure_logging
from agent.cli.terminal import print_data, print_json, say
from agent.errors import ConfigError, SourceError, SourceRefused

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.sources.mqtt.browse import Heard

__all__ = ["Wishes", "browse", "by_address", "is_filter"]

_OPTIONS: Final = " (here: --user, --ca, --certificate, --key)"
"""What hints name as the configuration does."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What of a broker is wished for; see the options of the command."""

    seconds: float
    topics: tuple[str, ...]
    topics_max: int


def browse(
    broker: MqttConfig, wishes: Wishes, config: Path, password_env: str | None, *, json: bool
) -> None:
    """Listen, and print what would read it.

    password_env : where the password is; None where the broker is in the configuration
    """
    from agent.sources.mqtt.browse import Heard, propose
    from agent.sources.mqtt.browse.heard import SAMPLES_MAX

    configure_logging(False)
    heard = Heard(wishes.topics_max, int(wishes.seconds / SAMPLES_MAX * 1e9))
    say(f"listening to {broker.url} for {wishes.seconds:g} s, to {', '.join(wishes.topics)}")
    try:
        asyncio.run(_listen(broker, wishes, heard))
    except (ConfigError, SourceError) as error:
        error.args = (str(error).removeprefix(f"{broker.name}: "),)
        if isinstance(error, SourceRefused) and password_env is not None:
            error.hint += _OPTIONS
        if not heard.messages:
            raise
        say(f"warning: {error}; this is what came until then")
    found = propose(heard, broker, own_nodes(broker, config))
    from agent.cli.browse.mqtt.tell import document, tell, toml
    from agent.cli.browse.words import what_next

    if json:
        print_json(document(broker, heard, found))
    else:
        print_data(toml(broker, heard, found, password_env))
    say(tell(heard, found))
    if found.usable and not json:
        say(what_next(broker, config, password_env))


async def _listen(broker: MqttConfig, wishes: Wishes, heard: Heard) -> None:
    from agent.sources.mqtt.browse import listen

    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough.set)
    with Listening(heard, wishes.seconds) as progress:
        await listen(broker, wishes.topics, wishes.seconds, heard, enough, progress.show)
