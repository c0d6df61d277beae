"""What is told about files, about several problems at once, and never about secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from agent.config import Config, examine, load
from agent.config.explain import inner_table, options
from agent.config.fields import Table
from agent.config.problems import PROBLEMS_MAX, SECRETS
from agent.errors import ConfigError
from tests.agent.config.support import ENVIRON, GOOD, changed, error_of


def test_an_empty_file_lacks_a_gateway_and_a_source(tmp_path: Path) -> None:
    assert error_of(tmp_path, "") == (
        "gateway is missing; it must be given\n"
        "  in DIR/agent.toml\n"
        "hint: This gateway.\n"
        "\n"
        "error: there is no source; at least one [[opcua]] or [[mqtt]] must be given\n"
        "  in DIR/agent.toml\n"
        "hint: write an example with: andon init --output -"
    )


def test_a_file_that_is_not_there_is_told_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "agent.toml", {})
    assert str(caught.value) == (
        f"there is no such configuration\n  in {tmp_path}/agent.toml\n"
        f"hint: write one with: andon init --output {tmp_path}/agent.toml"
    )


def test_a_folder_in_place_of_the_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file cannot be read: Is a directory"):
        load(tmp_path, {})


def test_text_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes("[gateway]\nname = '冲压'\n".encode("gbk"))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "agent.toml", {})
    assert str(caught.value) == (
        f"the file is not UTF-8 text\n  in {tmp_path}/agent.toml, line 2\n"
        "hint: save the file as UTF-8; what editors call ANSI or GBK is not"
    )


def test_a_value_in_two_files_is_told_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.toml").write_text("# mine\n[gateway]\nname = 'gw-1'\n")
    assert error_of(tmp_path, GOOD) == (
        'gateway.name is "gw-1"; it is given already in DIR/agent.toml, line 2\n'
        "  in DIR/conf.d/10.toml, line 3\n"
        "hint: keep one of them; conf.d adds to lists and tables, it does not replace values"
    )


def test_a_mistake_in_conf_d_is_told_with_its_own_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "oven.toml").write_text(
        "# one more server\n[[opcua]]\nname = 'oven'\nendpoint = 'oven:4840'\nmachine = 'oven-01'\n"
        "security = 'none'\nsignals = [{ name = 'ram_force', node = 'i=1' }]\n"
    )
    assert error_of(tmp_path, GOOD) == (
        'opcua[1].endpoint is "oven:4840"; it must be opc.tcp://host:port or '
        "opc.tcp://host:port/path\n"
        "  in DIR/conf.d/oven.toml, line 4\n"
        'hint: For example endpoint = "opc.tcp://10.0.0.5:4840"'
    )


def test_all_problems_are_told_in_one_go_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = changed('security = "none"', 'security = "none"\nqueue_size = 0\nsecurty = "x"')
    text = text.replace('node = "ns=2;s=press-01.ram_force"', 'node = "x"\nunit = 5')
    text = text.replace("${ANDON_TOKEN}", "plain").replace("{machine}", "#")
    text = text.replace('url = "mqtt://10.0.0.9:1883"', 'url = "mqtt:/10.0.0.9"\nqos = 3')
    told = [
        sentence.removeprefix("error: ").split(" is ")[0]
        for sentence in error_of(tmp_path, text).split("\n\n")
    ]
    assert told == [
        "opcua[0].queue_size",
        "opcua[0].securty",
        "opcua[0].signals[0].node",
        "opcua[0].signals[0].unit",
        "mqtt[0].url",
        "mqtt[0].qos",
        "mqtt[0].topics[0].topic",
        "influxdb[0].token",
    ]


def test_a_flood_of_problems_is_cut_at_a_named_limit(tmp_path: Path) -> None:
    text = GOOD + "".join(f"[[machines]]\nname = {number}\n" for number in range(PROBLEMS_MAX + 7))
    told = error_of(tmp_path, text).split("\n\n")
    assert len(told) == PROBLEMS_MAX + 1
    assert told[-1] == "error: and 7 more problems, told when these are solved"


@pytest.mark.parametrize(
    ("extra", "same"),
    [
        (
            "[[opcua]]\nname = 'b'\nendpoint = 'opc.tcp://b:1'\nmachine = 'b'\nsecurity = 'none'\n"
            "[[opcua.signals]]\nname = 'ram_force'\nmachine = 'press-01'\nnode = 'i=1'",
            "opcua[1].signals[0].name",
        ),
        (
            "[[mqtt]]\nname = 'b'\nurl = 'mqtt://b:1'\n[[mqtt.topics]]\ntopic = 'a'\n"
            "payload = { json = { value = 'v' } }\nmachine = 'press-01'\nsignal = 'ram_force'",
            "mqtt[1].topics[0].signal",
        ),
        (
            "[[mqtt]]\nname = 'b'\nurl = 'mqtt://b:1'\n[[mqtt.topics]]\ntopic = "
            "'{machine}/{signal}'"
            "\npayload = { json = { value = 'v' } }\n"
            "[[mqtt.signals]]\nmachine = 'press-01'\nname = 'ram_force'",
            "mqtt[1].signals[0].name",
        ),
    ],
)
def test_a_signal_that_two_sources_bring_is_refused(tmp_path: Path, extra: str, same: str) -> None:
    assert error_of(tmp_path, f"{GOOD}\n{extra}\n").startswith(
        f'{same} is "ram_force"; opcua[0].signals[0] is the same signal of the same machine, in '
        "DIR/agent.toml, line 12\n"
    )


def test_two_patterns_for_the_same_topics_are_refused(tmp_path: Path) -> None:
    extra = (
        "topic = 'floor/+/{signal}'\npayload = { json = { value = 'v' } }\nmachine = 'press-01'\n"
    )
    text = changed("[[influxdb]]", f"[[mqtt.topics]]\n{extra}[[influxdb]]")
    assert "mqtt[0].topics[0] asks for the same topics" in error_of(tmp_path, text)


def test_more_signals_than_the_gateway_may_have_are_refused(tmp_path: Path) -> None:
    text = changed('name = "gw-1"', 'name = "gw-1"\nsignals_max = 1')
    text = text.replace("[[mqtt]]", "[[opcua.signals]]\nname = 'b'\nnode = 'i=2'\n[[mqtt]]")
    assert error_of(tmp_path, text) == (
        "gateway.signals_max is 1; it must be at least 2, as many as are given\n"
        "  in DIR/agent.toml, line 3\n"
        "hint: try signals_max = 4"
    )


SECRET = "hunter2-swordfish"


@pytest.mark.parametrize(
    "text",
    [
        changed("${ANDON_TOKEN}", SECRET),
        changed("${ANDON_TOKEN}", "${NONE:-" + SECRET + "}"),
        changed("${ANDON_TOKEN}", SECRET + "${ANDON_TOKEN}"),
        changed('token = "${ANDON_TOKEN}"', f"token = ['{SECRET}']"),
        changed('token = "${ANDON_TOKEN}"', f"tokn = '{SECRET}'"),
        changed('token = "${ANDON_TOKEN}"', f"password = '{SECRET}'"),
        changed("mqtt://", f"mqtt://bob:{SECRET}@"),
        changed("mqtt://", f"mqtt://bob:{SECRET}/@"),
        changed("https://", f"http://{SECRET}@"),
        changed('name = "cloud"', 'name = "${SECRET} "'),
        changed('url = "https://andon.acme.example"', 'url = "${SECRET}"'),
        changed("opc.tcp://10.0.0.5", "opc.tcp://${SECRET}@10.0.0.5"),
        changed('node = "ns=2;s=press-01.ram_force"', 'node = "${SECRET}"'),
        changed('name = "gw-1"', 'name = "gw-1"\ndata = "${SECRET}"'),
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    environ = {**ENVIRON, "SECRET": SECRET}
    assert SECRET not in error_of(tmp_path, text, environ)
    found = examine(tmp_path / "agent.toml", environ)
    assert isinstance(found, list)
    assert SECRET not in str([problem.document() for problem in found])


def test_the_keys_of_secrets_are_exactly_the_options_that_hold_secrets() -> None:
    def secrets(table: type[Table]) -> set[tuple[str]]:
        found = set()
        for name, field in options(table).items():
            if "SecretStr" in repr(field.annotation):
                found.add((name,))
            if inner := inner_table(field):
                found |= secrets(inner)
        return found

    assert secrets(Config) == SECRETS


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 10_000, ".".join("a" * 3000) + " = 1", "x = " + "9" * 5000, "x = \0"],
)
def test_monstrous_text_gives_one_clear_error(tmp_path: Path, text: str) -> None:
    assert "Traceback" not in error_of(tmp_path, text)


@seed(20260131)
@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_a_line_is_replaced_by_the_answer_is_a_configuration_or_problems(
    tmp_path: Path, data: st.DataObject
) -> None:
    lines = GOOD.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    key = lines[number].split(" = ")[0]
    value = data.draw(
        st.sampled_from(["", "[]", "{}", "[[1]]", "nan", "-1", "true", "1979-05-27", "'${'", "''"])
        | st.text(max_size=8).map(lambda text: f"'{text}'")
    )
    lines[number] = f"{key} = {value}"
    (tmp_path / "agent.toml").write_text("\n".join(lines), encoding="utf-8")
    found = examine(tmp_path / "agent.toml", ENVIRON)
    assert isinstance(found, Config) or (found and all(problem.sentence for problem in found))
