"""Every form of error that an option can have, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.config.support import changed, error_of


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            'security = "none"',
            'security = "none"\npublishing_interval_ms = 0',
            "opcua[0].publishing_interval_ms is 0; it must be at least 10\n"
            "  in DIR/agent.toml, line 10\n"
            "hint: leave it out for the default, 250",
            id="a number out of its range",
        ),
        pytest.param(
            'name = "gw-1"',
            'name = "gw-1"\nbatch_max = 500',
            "gateway.batch_max is not a known option\n"
            "  in DIR/agent.toml, line 3\n"
            "hint: did you mean batches_max?",
            id="an unknown option with a neighbour",
        ),
        pytest.param(
            'name = "gw-1"',
            'name = "gw-1"\ncommit_interval_ms = 500',
            "gateway.commit_interval_ms is not a known option\n"
            "  in DIR/agent.toml, line 3\n"
            "hint: it is an option of the table outbox",
            id="an option of another table",
        ),
        pytest.param(
            'payload = { json = { value = "v", time = "ts" } }',
            'payload = { json = { value = "v", xyz = "ts" } }',
            "mqtt[0].topics[0].payload.json.xyz is not a known option\n"
            "  in DIR/agent.toml, line 20\n"
            "hint: known here: value, time, time_unit",
            id="an unknown option without a neighbour",
        ),
        pytest.param(
            'endpoint = "opc.tcp://10.0.0.5:4840"\n',
            "",
            "opcua[0].endpoint is missing; it must be given\n"
            "  in DIR/agent.toml, line 5\n"
            'hint: Where the server listens. For example endpoint = "opc.tcp://10.0.0.5:4840"',
            id="a missing option",
        ),
        pytest.param(
            'security = "none"\n',
            "",
            "opcua[0].security is missing; it must be given\n"
            "  in DIR/agent.toml, line 5\n"
            "hint: Signed and encrypted sessions come with a later version; until then ask for "
            "none "
            'by name. For example security = "none"',
            id="no word about security",
        ),
        pytest.param(
            'security = "none"',
            'security = "Basic256Sha256"',
            'opcua[0].security is "Basic256Sha256"; it must be "none": signed and encrypted '
            "sessions "
            "come with a later version\n"
            "  in DIR/agent.toml, line 9\n"
            "hint: on a network of machines that you trust, ask for it by name: "
            'security = "none"',
            id="security that is not there yet",
        ),
        pytest.param(
            'url = "mqtt://10.0.0.9:1883"',
            'url = "mqtts://10.0.0.9:8883"',
            'mqtt[0].url is "mqtts://10.0.0.9:8883"; it must be mqtt://host:port: brokers behind '
            "TLS "
            "come with a later version\n"
            "  in DIR/agent.toml, line 17\n"
            "hint: use the broker's plain port on the machine network, 1883 as a rule",
            id="a broker behind TLS",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "press-01.ram_force"',
            'opcua[0].signals[0].node is "press-01.ram_force"; it must be a NodeId such as '
            "ns=2;s=press-01.ram_force or ns=2;i=1042\n"
            "  in DIR/agent.toml, line 13\n"
            "hint: s= is followed by text, i= by a number; nsu=URI; names the namespace where its "
            "number may change",
            id="an address with a form of its own",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=2259"\nkind = "analogue"',
            'opcua[0].signals[0].kind is "analogue"; it must be "analog", "counter", "discrete" or '
            '"text"\n'
            "  in DIR/agent.toml, line 14\n"
            'hint: did you mean "analog"?',
            id="a word that is not one of the words",
        ),
        pytest.param(
            'name = "gw-1"',
            'name = "gw-1"\nbatches_max = "1000"',
            'gateway.batches_max is "1000"; it must be a whole number\n'
            "  in DIR/agent.toml, line 3\n"
            "hint: leave it out for the default, 1000",
            id="text where a number belongs",
        ),
        pytest.param(
            "[[mqtt]]",
            '[outbox]\njournal = "allways"\ncommit_interval_ms = 5\n[[mqtt]]',
            'outbox.journal is "allways"; it must be "auto", "always" or "never"\n'
            "  in DIR/agent.toml, line 16\n"
            'hint: did you mean "always"?\n'
            "\n"
            "error: outbox.commit_interval_ms is 5; it must be at least 10\n"
            "  in DIR/agent.toml, line 17\n"
            "hint: For example commit_interval_ms = 1000",
            id="what the outbox cannot do",
        ),
        pytest.param(
            "[[influxdb]]",
            "[influxdb]",
            "influxdb is a table; it must be a list\n"
            "  in DIR/agent.toml, line 22\n"
            "hint: a list of tables has two brackets: [[influxdb]]",
            id="one bracket instead of two",
        ),
        pytest.param(
            "[gateway]",
            "[[gateway]]",
            "gateway is a list; it must be a table\n"
            "  in DIR/agent.toml, line 1\n"
            "hint: one table has one pair of brackets: [gateway]",
            id="two brackets instead of one",
        ),
        pytest.param(
            'topic = "floor/{machine}/{signal}"',
            'topic = "floor/{machine}/speed"',
            "mqtt[0].topics[0].signal is missing; the topic does not say it with {signal}, so it "
            "must "
            "be given\n"
            "  in DIR/agent.toml, line 18\n"
            'hint: add signal = "..." to this topic',
            id="a topic that leaves the signal open",
        ),
        pytest.param(
            'security = "none"',
            'security = "none"\nsampling_interval_ms = 1',
            "opcua[0].queue_size is 100 by default; it must be at least 250: the server samples "
            "every "
            "1 ms and sends every 250 ms, and would drop the rest\n"
            "  in DIR/agent.toml, line 5\n"
            "hint: try queue_size = 500",
            id="a default that another option makes wrong",
        ),
        pytest.param(
            'name = "floor"',
            'name = "press"',
            'mqtt[0].name is "press"; opcua[0] has the same name, in DIR/agent.toml, line 6\n'
            "  in DIR/agent.toml, line 16\n"
            "hint: name one of them differently, or remove it",
            id="two sources of one name",
        ),
        pytest.param(
            'token = "${ANDON_TOKEN}"',
            'token = "hunter2"',
            'influxdb[0].token is "***"; a secret must be a reference, so that it is not in the '
            "file\n"
            "  in DIR/agent.toml, line 25\n"
            'hint: write token = "${ANDON_TOKEN}" and set that variable, or '
            'token = "${credential:token}" with LoadCredential= in the systemd unit',
            id="a secret in the file",
        ),
        pytest.param(
            'token = "${ANDON_TOKEN}"',
            'token = "${OTHER_TOKEN}"',
            'influxdb[0].token is "${OTHER_TOKEN}"; the environment variable OTHER_TOKEN is not '
            "set\n"
            "  in DIR/agent.toml, line 25\n"
            "hint: set OTHER_TOKEN where the agent starts; a service takes it from Environment= or "
            "EnvironmentFile= in its unit",
            id="a variable that is not set",
        ),
        pytest.param(
            'token = "${ANDON_TOKEN}"',
            'token = "${credential:cloud}"',
            'influxdb[0].token is "${credential:cloud}"; there are no credentials here: '
            "CREDENTIALS_DIRECTORY is not set\n"
            "  in DIR/agent.toml, line 25\n"
            "hint: systemd sets it with LoadCredential=cloud:/path/of/the/secret in the unit; in a "
            "shell set it to a folder with the file cloud",
            id="a credential where there are none",
        ),
        pytest.param(
            'machine = "press-01"',
            'machine = "${MA-CHINE}"',
            'opcua[0].machine is "${MA-CHINE}"; that is no reference\n'
            "  in DIR/agent.toml, line 8\n"
            "hint: a reference is ${NAME}, ${NAME:-default} or ${credential:NAME}; for the "
            "characters ${ themselves write $${",
            id="a reference with a slip",
        ),
        pytest.param(
            'url = "https://andon.acme.example"',
            'url = "${ANDON_TOKEN}"',
            'influxdb[0].url is "${ANDON_TOKEN}" (filled in, not shown); it must be https://host '
            "or "
            "https://host:port/path\n"
            "  in DIR/agent.toml, line 24\n"
            'hint: For example url = "https://andon.acme.example"',
            id="a wrong value from the environment",
        ),
        pytest.param(
            'url = "https://andon.acme.example"',
            'url = "http://andon.acme.example"',
            'influxdb[0].url is "http://andon.acme.example"; it must be https:// unless it is on '
            "this "
            "machine, since the token would cross the network in clear text\n"
            "  in DIR/agent.toml, line 24\n"
            "hint: on a network you trust, say insecure = true",
            id="a token in clear text over the network",
        ),
        pytest.param(
            'name = "gw-1"',
            "name = gw-1",
            "the file is not valid TOML: invalid value\n"
            "  in DIR/agent.toml, line 2, column 8\n"
            'hint: text stands in quotes: name = "press"',
            id="broken TOML",
        ),
        pytest.param(
            'name = "gw-1"',
            'name = "gw-1"\nname = "gw-2"',
            "the file is not valid TOML: cannot overwrite a value\n"
            "  in DIR/agent.toml, line 3, column 14\n"
            "hint: this key stands in its table twice; keep one of them",
            id="a key twice in one table",
        ),
    ],
)
def test_an_error_gives_path_value_rule_place_and_way_out(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert error_of(tmp_path, changed(old, new)) == message
