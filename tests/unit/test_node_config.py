"""A node's configuration: every value documented, no name guessed, and the message says what would be right."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from guildbook.node.config import (
    BadConfiguration,
    NodeConfig,
    config_reference,
    default_config_text,
    make_config,
    read_config,
    settings,
    variable_of,
)

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "configuration.md"


def refused(values, environment=None):
    with pytest.raises(BadConfiguration) as caught:
        make_config(values, environment or {}, "guildbook.toml")
    return str(caught.value)


def test_every_value_has_a_description_a_default_and_a_unit():
    found = list(settings())
    assert len(found) > 20
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert one.description.endswith((".", ").")), one
        name = one.name.rpartition(".")[2]
        if isinstance(one.default, int) and not isinstance(one.default, bool):
            units = (
                "_s",
                "_ms",
                "_bytes_max",
                "_bytes_warn",
                "_bytes_min",
                "_max",
                "_blocks", "_height",
                "port",
                "workers",
                "threads",
            )
            assert name.endswith(units), name


def test_the_file_of_a_new_node_reads_as_the_defaults():
    text = default_config_text()
    assert make_config(tomllib.loads(text), {}, "x") == NodeConfig()
    assert all(f"\n# {one.name.rpartition('.')[2]} = " in text for one in settings())


def test_what_a_new_node_is_given_is_in_its_file():
    text = default_config_text(
        {"http.port": 9000, "log.format": "json", "applications": ["points"], "views.enabled": False}
    )
    config = make_config(tomllib.loads(text), {}, "x")
    assert (config.http.port, config.log.format, config.applications) == (9000, "json", ["points"])
    assert not config.views.enabled


def test_the_reference_page_is_made_from_the_declaration():
    assert REFERENCE.read_text("utf-8") == config_reference()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"htp": {}}, "did you mean http?"),
        ({"http": {"prt": 1}}, "did you mean http.port?"),
        ({"zzz": 1}, "zzz is not a setting"),
        ({"http": {"port": "x"}}, "http.port: Expected `int`, got `str` (allowed: 0 to 65535)"),
        ({"http": {"port": 70_000}}, "allowed: 0 to 65535"),
        ({"http": {"port": True}}, "http.port"),
        ({"http": 1}, "http"),
        ({"log": {"level": "loud"}}, "log.level"),
        ({"views": {"enabled": 1}}, "views.enabled: Expected `bool`"),
        ({"applications": "points"}, "applications: Expected `array`"),
        ({"sequencer": {"gather_ms": 1.5}}, "sequencer.gather_ms"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_can(values, said):
    assert said in refused(values)


def test_the_environment_overrides_the_file():
    environment = {
        "GUILDBOOK_HTTP_PORT": "7777",
        "GUILDBOOK_VIEWS_ENABLED": "false",
        "GUILDBOOK_LOG_FORMAT": "json",
        "GUILDBOOK_APPLICATIONS": "points, funds",
        "GUILDBOOK_UNRELATED": "x",
    }
    config = make_config({"http": {"port": 1}}, environment, "x")
    assert (config.http.port, config.views.enabled, config.log.format) == (7777, False, "json")
    assert config.applications == ["points", "funds"]
    assert variable_of("http.port") == "GUILDBOOK_HTTP_PORT"


@pytest.mark.parametrize(
    "environment",
    [{"GUILDBOOK_HTTP_PORT": "x"}, {"GUILDBOOK_HTTP_PORT": ""}, {"GUILDBOOK_VIEWS_ENABLED": "maybe"}],
)
def test_a_variable_that_cannot_be_is_refused(environment):
    assert refused({}, environment)


def test_a_file_that_is_none_is_said_to_be_none(tmp_path):
    with pytest.raises(BadConfiguration, match="guildbook init"):
        read_config(tmp_path / "guildbook.toml")
    for content in (b"[http\nport=1", b"\xff\xfe", b"http.port = "):
        (tmp_path / "guildbook.toml").write_bytes(content)
        with pytest.raises(BadConfiguration, match="is not TOML"):
            read_config(tmp_path / "guildbook.toml")


def test_a_configuration_can_be_sent_around():
    assert msgspec.json.decode(msgspec.json.encode(NodeConfig()), type=NodeConfig) == NodeConfig()
