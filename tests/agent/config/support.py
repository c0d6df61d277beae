"""A good configuration to spoil, and what `load` says about the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.config import Config, load
from agent.errors import ConfigError, ExitCode
from agent.signals import Path as LinePath

GOOD = """\
[gateway]
name = "gw-1"
path = { enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }

[[opcua]]
name = "press"
endpoint = "opc.tcp://10.0.0.5:4840"
machine = "press-01"
security = "none"

[[opcua.signals]]
name = "ram_force"
node = "ns=2;s=press-01.ram_force"

[[mqtt]]
name = "floor"
url = "mqtt://10.0.0.9:1883"
[[mqtt.topics]]
topic = "floor/{machine}/{signal}"
payload = { json = { value = "v", time = "ts" } }

[[influxdb]]
name = "cloud"
url = "https://andon.acme.example"
token = "${ANDON_TOKEN}"
"""
ENVIRON = {"ANDON_TOKEN": "tok-1"}

GATEWAY = """\
[gateway]
name = "gw-1"
path = { enterprise = "acme", site = "guiyang", area = "assembly", line = "line-1" }
"""
OPCUA = """\
[[opcua]]
name = "press"
endpoint = "opc.tcp://10.0.0.5:4840/press"
machine = "press-01"
user = "${OPCUA_USER:-andon}"
password = "${OPCUA_PASSWORD}"
[[opcua.signals]]
name = "ram_force"
node = "ns=2;s=press-01.ram_force; peak=1"
unit = "kN"
limits = { high = 2400 }
[[opcua.signals]]
name = "state"
machine = "feeder-01"
node = "nsu=urn:andon:line;i=7"
kind = "discrete"
every_s = 60
"""
LINE = LinePath("acme", "guiyang", "assembly", "line-1")


def error_of(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> str:
    """What `load` says about a text, with the folder's name left out."""
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert caught.value.hint == ""
    return str(caught.value).replace(str(folder), "DIR")


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def config_of(folder: Path, text: str, environ: dict[str, str]) -> Config:
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    return load(folder / "agent.toml", environ)
