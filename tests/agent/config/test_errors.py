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
            "hint: known here: value, fields, time, time_unit, quality, unit, samples, rate_hz, "
            "signal",
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
            'security = "none"',
            'security = "basic256sha256"',
            'opcua[0].security is "basic256sha256"; it must be "auto", "none", "Basic256Sha256", '
            '"Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss", "Basic256" or "Basic128Rsa15"\n'
            "  in DIR/agent.toml, line 9\n"
            'hint: did you mean "Basic256Sha256"?',
            id="a security policy that there is not",
        ),
        pytest.param(
            'security = "none"',
            'user = "${ANDON_TOKEN}"\nuser_certificate = "/etc/andon/o.der"',
            'opcua[0].user_certificate is "/etc/andon/o.der"; it must come without user and '
            "password: a session has one identity\n"
            "  in DIR/agent.toml, line 10\n"
            "hint: keep user and password, or user_certificate and user_key",
            id="two identities",
        ),
        pytest.param(
            'security = "none"',
            'user_certificate = "/etc/andon/o.der"',
            "opcua[0].user_key is missing; user_certificate and user_key must be given together\n"
            "  in DIR/agent.toml, line 5\n"
            "hint: add the one that lacks",
            id="a certificate without its key",
        ),
        pytest.param(
            'security = "none"',
            'user_key = "o.pem"',
            'opcua[0].user_key is "o.pem"; it must be a full path, from / on\n'
            "  in DIR/agent.toml, line 9\n"
            'hint: For example user_key = "/etc/andon/operator.pem"',
            id="a key whose place depends on who asks",
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
            'opcua[0].signals[0].kind is "analogue"; it must be "analog", "counter", '
            '"discrete", "text" or "waveform"\n'
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
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\nsampling_interval_ms = 1',
            "opcua[0].signals[0].queue_size is 100; it must be at least 250: the server samples "
            "every 1 ms and sends every 250 ms, and would drop the rest\n"
            "  in DIR/agent.toml, line 14\n"
            "hint: try queue_size = 500",
            id="a signal sampled too fast for its server's queue",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\nkind = "counter"\ndeadband = { absolute = 1 }',
            'opcua[0].signals[0].deadband is a table; it must come with kind = "analog": of other '
            "kinds every change matters\n"
            "  in DIR/agent.toml, line 15\n"
            "hint: leave it out",
            id="a deadband of what counts",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\ndeadband = { absolute = 1, percent = 101 }',
            "opcua[0].signals[0].deadband.percent is 101; it must be at most 100\n"
            "  in DIR/agent.toml, line 14",
            id="more than all of the range",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\ndeadband = { absolute = 1, percent = 2 }',
            "opcua[0].signals[0].deadband.percent is 2; a deadband must be one of absolute and "
            "percent\n"
            "  in DIR/agent.toml, line 14\n"
            "hint: such as deadband = { absolute = 0.5 } or deadband = { percent = 1 }",
            id="two deadbands in one",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\nkind = "waveform"',
            'opcua[0].signals[0].rate_hz is missing; it must be given with kind = "waveform"\n'
            "  in DIR/agent.toml, line 11\n"
            "hint: say how many values a second its arrays hold, such as rate_hz = 25600",
            id="a waveform without its rate",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\nrate_hz = 1000',
            'opcua[0].signals[0].rate_hz is 1000; it must come with kind = "waveform"\n'
            "  in DIR/agent.toml, line 14\n"
            "hint: leave it out",
            id="a rate of what is no waveform",
        ),
        pytest.param(
            'node = "ns=2;s=press-01.ram_force"',
            'node = "i=1"\nstate = true',
            'opcua[0].signals[0].state is true; it must come with kind = "text": a state is told '
            "by its name\n"
            "  in DIR/agent.toml, line 14\n"
            'hint: read numbers that stand for states with kind = "discrete"',
            id="a state that is a number",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.events]]\nname = 'alarms'\nstate = 'Execte'\n[[mqtt]]",
            'opcua[0].events[0].state is "Execte"; it must be "Clearing", "Stopped", "Starting", '
            '"Idle", "Suspended", "Execute", "Stopping", "Aborting", "Aborted", "Holding", "Held", '
            '"Unholding", "Suspending", "Unsuspending", "Resetting", "Completing" or "Complete"\n'
            "  in DIR/agent.toml, line 17\n"
            'hint: did you mean "Execute"?',
            id="a state that PackML does not know",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.events]]\nname = 'alarms'\nstate_clear = 'Execute'\n[[mqtt]]",
            'opcua[0].events[0].state_clear is "Execute"; it must come with state, which says what '
            "ends with the last alarm\n"
            "  in DIR/agent.toml, line 17\n"
            'hint: add state = "Aborted", or leave it out',
            id="the end of a state that never begins",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.events]]\nname = 'alarms'\nalarms = false\nstate = 'Held'\n[[mqtt]]",
            'opcua[0].events[0].state is "Held"; it must come with alarms: only they are active '
            "for a while\n"
            "  in DIR/agent.toml, line 18\n"
            "hint: say alarms = true",
            id="a state of what does not last",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.signals]]\nname = 'state'\nnode = 'i=1'\n"
            "[[opcua.events]]\nname = 'alarms'\nstate = 'Held'\n[[mqtt]]",
            'opcua[0].events[0].state_signal is "state" by default; opcua[0].signals[1] is the '
            "same signal of the same machine, in DIR/agent.toml, line 16\n"
            "  in DIR/agent.toml, line 18\n"
            "hint: name one of them differently, or remove it",
            id="a state signal of a name that is taken",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.signals]]\nname = 'mode'\nnode = 'i=1'\nkind = 'text'\nstate = true\n"
            "[[opcua.events]]\nname = 'alarms'\nstate = 'Held'\n[[mqtt]]",
            'opcua[0].events[0].state is "Held"; opcua[0].signals[1] tells the state of the same '
            "machine, in DIR/agent.toml, line 19\n"
            "  in DIR/agent.toml, line 22\n"
            "hint: a machine is in one state at a time: keep one of them",
            id="two states of one machine",
        ),
        pytest.param(
            "[[mqtt]]",
            "[[opcua.events]]\nname = 'ram_force'\n[[mqtt]]",
            'opcua[0].events[0].name is "ram_force"; opcua[0].signals[0] is the same signal of the '
            "same machine, in DIR/agent.toml, line 12\n"
            "  in DIR/agent.toml, line 16\n"
            "hint: name one of them differently, or remove it",
            id="events of a name that is taken",
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
