"""The configuration that `andon init` writes.

Lines that begin with `## ` explain; lines that begin with one `# ` are options to be uncommented,
and load when they are. Addresses and names are what the person said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.config.explain import toml


def configuration(names: Mapping[str, str], sources: Mapping[str, list[str]], cloud: str) -> str:
    """The text of a configuration file.

    names : name of the gateway, and enterprise, site, area, line
    sources : addresses to read, under `opcua`, `mqtt` and `sparkplug`
    cloud : where it goes, or "" to leave that open
    """
    parts = [_gateway(names)]
    parts += [_opcua(number, url) for number, url in enumerate(sources["opcua"], 1)]
    parts += [_mqtt(number, url, names) for number, url in enumerate(sources["mqtt"], 1)]
    parts += [_sparkplug(number, url) for number, url in enumerate(sources["sparkplug"], 1)]
    parts.append(_cloud(cloud))
    parts.append(_brokers(names))
    return "\n\n".join(parts)


def _heading(title: str) -> str:
    return f"## ---- {title} ".ljust(100, "-")


def _gateway(names: Mapping[str, str]) -> str:
    return f"""\
## Andon on gateway {names["name"]}
##
## Lines with ## explain. Lines with one # are options that may be uncommented; those that name a
## value the agent has anyway show that value. What is wrong here, `andon check` says before the
## service does. More may stand in conf.d/*.toml beside this file.

[gateway]
name = {toml(names["name"])}

## What was read waits in this folder until the cloud has it.
# data = "/var/lib/andon"

## Where the line is, in every record that is sent.
[gateway.path]
enterprise = {toml(names["enterprise"])}
site = {toml(names["site"])}
area = {toml(names["area"])}
line = {toml(names["line"])}

## What the folder above may take. When it is full, the oldest raw samples go first, then the oldest
## windows, anomalies and cycles last; what goes is counted.
# [outbox]
# bytes_max_mb = 1024
# age_max_days = 90

## What the disk may be asked to write in a day: an 8 GB eMMC lasts ten years at 1.6. How often
## samples are made durable follows from that, unless it is said here.
# write_gb_per_day = 1.6
# commit_interval_ms = 1000

## Keep received samples until their windows are closed, so that a crash loses nothing: where the
## machine side can redeliver and the budget allows ("auto"), "always" or "never".
# journal = "auto"


{_heading("The machines, in the order a unit passes them")}
## Needed only for what the board shall show of them.

# [[machines]]
# name = "machine-1"
# model = "Maker 200 t"
# order_in_line = 1
# ideal_cycle_s = 1.7
"""


def _opcua(number: int, endpoint: str) -> str:
    return f"""\
{_heading(f"OPC UA server {number}")}

[[opcua]]
name = "opcua-{number}"
endpoint = {toml(endpoint)}

## What people on the floor call the machine.
machine = "machine-{number}"

## The best policy that the server offers, signed and encrypted. The server must trust this gateway
## and this gateway the server: andon trust. "none" is a session in the clear, asked for by name.
# security = "auto"

## Secrets never stand in this file: ${{NAME}} is taken from the environment, ${{credential:NAME}}
## from systemd.
# user = "${{OPCUA_USER}}"
# password = "${{OPCUA_PASSWORD}}"

## How often the server sends what has changed.
# publishing_interval_ms = 250

## One table for each signal; andon browse prints those that the server has. Every OPC UA server has
## this one: 0 is running.
[[opcua.signals]]
name = "server_state"
node = "i=2259"
kind = "discrete"

# [[opcua.signals]]
# name = "ram_force"
# node = "ns=2;s=Press.Ram.Force"
# unit = "kN"
# limits = {{ high = 2400 }}
# description = "Force of the ram over the stroke"
"""


def _mqtt(number: int, url: str, names: Mapping[str, str]) -> str:
    topic = f"{_level(names['line']) or 'floor'}/{{machine}}/{{signal}}"
    return f"""\
{_heading(f"MQTT broker {number}")}

{_broker(f"mqtt-{number}", url)}
## {{machine}} and {{signal}} take a level of the topic as a name; + passes over a level.
## The payload is an object such as {{"v": 20.5, "ts": 1769839200000}}; without `time` the time of
## arrival is taken. It may be a number, text, CSV or a waveform as well. andon browse listens for a
## while and prints these tables for what it heard.
[[mqtt.topics]]
topic = {toml(topic)}
payload = {{ json = {{ value = "v", time = "ts", time_unit = "ms" }} }}

## What is known of single signals.
# [[mqtt.signals]]
# machine = "conveyor-{number:02}"
# name = "speed"
# unit = "m/s"
# limits = {{ low = 0.2, high = 0.6 }}
"""


def _sparkplug(number: int, url: str) -> str:
    return f"""\
{_heading(f"MQTT broker {number} with Sparkplug B")}

{_broker(f"sparkplug-{number}", url)}
## The births of nodes and devices say which metrics there are; each is a signal by its name.
[mqtt.sparkplug]

## The groups to read, and how machines are called.
# groups = ["+"]
# machine = "{{device}}"

## Ask nodes for a new birth where messages are missing, at most so often.
# rebirth = true
# rebirth_every_s = 60
"""


def _broker(name: str, url: str) -> str:
    """The table of a broker that is read, and who we are there."""
    tls = """
## The authorities whose brokers are trusted, where that is not the system's; and a certificate to
## log in with, and its key, PEM.
# ca = "/etc/andon/broker-ca.pem"
# certificate = "/etc/andon/gateway.pem"
# key = "/etc/andon/gateway.key"
"""
    return f"""\
[[mqtt]]
name = {toml(name)}
url = {toml(url)}

## Secrets never stand in this file: ${{NAME}} is taken from the environment, ${{credential:NAME}}
## from systemd.
# user = "${{MQTT_USER}}"
# password = "${{MQTT_PASSWORD}}"
{tls if url.startswith(("mqtts:", "wss:")) else ""}"""


def _brokers(names: Mapping[str, str]) -> str:
    return f"""\
{_heading("Brokers that are told too")}
## As an edge node of Sparkplug B: machines are devices, signals their metrics.

# [[sparkplug]]
# name = "scada"
# url = "mqtts://broker.example.com"
# group = {toml(_level(names["enterprise"]) or "andon")}
# node = {toml(_level(names["name"]) or "node")}

## As a unified namespace: plain JSON under enterprise/site/area/line/machine/signal.

# [[uns]]
# name = "uns"
# url = "mqtts://broker.example.com"
# retain = true
"""


def _level(name: str) -> str:
    """A name as one level of a topic."""
    return re.sub(r"[/+#{}\s]+", "-", name).strip("-")


def _cloud(url: str) -> str:
    sink = f"""\
[[influxdb]]
name = "cloud"
url = {toml(url or "https://andon.example.com")}
token = "${{ANDON_TOKEN}}"
"""
    if not url:
        sink = re.sub(r"(?m)^", "# ", sink.rstrip()) + "\n"
    return f"""\
{_heading("Where it goes")}
## The Andon cloud, or any server with the InfluxDB v2 write API. What it has not acknowledged waits
## in the folder above.

{sink}# org = "andon"
# bucket = "andon"

## A signal is learned for a while before anything about it can be an anomaly.
# [detect]
# enabled = true
# warmup_s = 15
"""
