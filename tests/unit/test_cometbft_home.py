"""CometBFT's home folder: every key explicit, limits alike everywhere, keys and guard never overwritten."""

import base64
import contextlib
import json
import stat
import time
import tomllib
from pathlib import Path

import pytest

from engine_binary import cometbft
from guildbook.chain.genesis import (
    GENESIS_FORMAT,
    Genesis,
    GenesisContract,
    GenesisOrganisation,
    GenesisValidator,
)
from guildbook.engine.cometbft import binary
from guildbook.engine.cometbft.binary import COMPATIBLE, PINNED
from guildbook.engine.cometbft.home import (
    BUNDLE_SIZE_BYTES_MAX,
    EngineHome,
    HomeSettings,
    Peer,
    StateSyncFrom,
    Timing,
    config_text,
    config_values,
    genesis_document,
    node_id,
    node_key_document,
    validator_key_document,
    write_home,
)
from guildbook.engine.cometbft.process import EngineProcess
from guildbook.engine.cometbft.view import EngineView
from guildbook.primitives.cometbft import consensus_params_hash, parse_time
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.runtime.parameters import BOUNDS

VALIDATOR, NODE, OTHER = (SigningKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
APP_HASH = bytes(range(32))
GENESIS = Genesis(
    GENESIS_FORMAT, "harbour-net", 1_700_000_000_123, {},
    [GenesisValidator(key_text(VALIDATOR.public_key), 10, "moss-and-fern"),
     GenesisValidator(key_text(OTHER.public_key), 30, "paper-lantern")],
    [GenesisOrganisation("moss-and-fern", "Moss and Fern", "XX", [], [])],
    [GenesisContract("parties", 1, ""), GenesisContract("governance", 1, "")],
)  # fmt: skip
PEERS = [Peer("a" * 40, "10.0.0.1:26656"), Peer("b" * 40, "node.example.org:26656")]


def written(folder: Path, **changes: object) -> EngineHome:
    return write_home(folder, GENESIS, APP_HASH, VALIDATOR, NODE, HomeSettings(**changes), PEERS)  # type: ignore[arg-type]


def keys_of(values: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, value in values.items():
        found |= keys_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"}
    return found


def test_the_configuration_reads_back_as_what_was_meant(tmp_path):
    home = written(tmp_path / "engine")
    assert tomllib.loads(home.config.read_text()) == config_values(HomeSettings(), PEERS)


@pytest.mark.parametrize("version", [PINNED, COMPATIBLE])
def test_every_key_that_the_engine_knows_is_written(tmp_path, version):
    """Held against what the program itself writes: no default of any version decides anything."""
    import subprocess

    subprocess.run(
        [cometbft(version), "init", "--home", tmp_path], check=True, capture_output=True, timeout=60
    )
    theirs = tomllib.loads((tmp_path / "config" / "config.toml").read_text())
    theirs.get("p2p", {}).get("libp2p", {}).get("scaler", {}).pop(
        "overrides", None
    )  # of a transport that stays off
    missing = keys_of(theirs) - keys_of(config_values(HomeSettings(), PEERS))
    assert not missing
    ours = json.loads(genesis_document(GENESIS, APP_HASH))
    genesis = json.loads((tmp_path / "config" / "genesis.json").read_text())
    assert keys_of(genesis["consensus_params"]) - keys_of(ours["consensus_params"]) == set()


@pytest.mark.parametrize("version", [PINNED, COMPATIBLE])
def test_the_engine_starts_with_it_and_makes_blocks(tmp_path, version, monkeypatch):
    """With the application that the program brings, since here only the folder is tried."""
    home = write_home(
        tmp_path / "engine", alone(), APP_HASH, VALIDATOR, NODE,
        HomeSettings(p2p_listen="127.0.0.1:0", timing=Timing(heartbeat_ms=10)), [],
    )  # fmt: skip
    program = tmp_path / "with-its-own-application"
    program.write_text(f'#!/bin/sh\nexec {cometbft(version)} "$@" --proxy_app kvstore\n')
    program.chmod(0o755)
    monkeypatch.setenv("CMT_P2P_LADDR", "tcp://256.0.0.1:1")  # nothing from outside changes the configuration
    engine = EngineProcess(program, home)
    engine.start()
    try:
        status = when_at(home, engine, 2)
        assert (status.network, status.version, status.power) == ("harbour-net", version, 7)
        assert status.id == node_id(NODE)
        header = EngineView(home).ask("block", height="1")["block"]["header"]
        assert EngineView(home).peers() == []
        assert bytes.fromhex(header["consensus_hash"]) == consensus_params_hash(67_108_864, -1)
        assert header["version"]["block"] == "11"
        assert header["chain_id"] == "harbour-net"
    finally:
        engine.stop()
    assert engine.failure is None
    signed = json.loads(home.validator_state.read_text())
    assert int(signed["height"]) >= 2
    written_again = write_home(home.path, alone(), APP_HASH, VALIDATOR, NODE, HomeSettings(), [])
    assert json.loads(written_again.validator_state.read_text()) == signed, "the guard stays"


def alone() -> Genesis:
    import msgspec

    return msgspec.structs.replace(
        GENESIS, validators=[GenesisValidator(key_text(VALIDATOR.public_key), 7, "moss-and-fern")]
    )


def when_at(home: EngineHome, engine: EngineProcess, height: int):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert engine.running, engine.failure
        with contextlib.suppress(GuildbookError):
            status = EngineView(home).status()
            if status.height >= height:
                return status
        engine.wait(0.05)
    raise AssertionError(home.log.read_text()[-2000:])


def test_the_genesis_states_our_own(tmp_path):
    document = json.loads(genesis_document(GENESIS, APP_HASH))
    assert document["chain_id"] == "harbour-net"
    assert document["initial_height"] == "1"
    assert parse_time(document["genesis_time"]) == 1_700_000_000_123_000_000
    assert bytes.fromhex(document["app_hash"]) == APP_HASH
    assert document["app_state"] == {"genesis_hash": GENESIS.hash.hex()}
    assert [(one["power"], one["name"]) for one in document["validators"]] == [
        ("30", "paper-lantern"),
        ("10", "moss-and-fern"),
    ]
    assert base64.b64decode(document["validators"][1]["pub_key"]["value"]) == VALIDATOR.public_key[1:]


def test_the_limits_hold_what_the_ledger_may_be_told_to_allow():
    block = json.loads(genesis_document(GENESIS, APP_HASH))["consensus_params"]["block"]
    assert int(block["max_bytes"]) == BOUNDS["block_size_bytes_max"][1]
    values = config_values(HomeSettings(), [])
    assert (
        BOUNDS["transaction_size_bytes_max"][1] < values["mempool"]["max_tx_bytes"] == BUNDLE_SIZE_BYTES_MAX
    )
    assert values["rpc"]["max_body_bytes"] > BUNDLE_SIZE_BYTES_MAX * 4 // 3


def test_an_idle_ledger_makes_a_block_only_for_the_heartbeat():
    consensus = config_values(HomeSettings(), [])["consensus"]
    assert consensus["create_empty_blocks"] is False
    assert consensus["create_empty_blocks_interval"] == "30000ms"


def test_members_connect_to_one_another_and_to_nobody_else():
    p2p = config_values(HomeSettings(p2p_address="moss.example.org:26656"), PEERS)["p2p"]
    assert p2p["persistent_peers"] == f"{'a' * 40}@10.0.0.1:26656,{'b' * 40}@node.example.org:26656"
    assert p2p["pex"] is False
    assert p2p["unconditional_peer_ids"] == f"{'a' * 40},{'b' * 40}"
    assert p2p["external_address"] == "moss.example.org:26656"
    assert p2p["allow_duplicate_ip"] is False


@pytest.mark.parametrize("addresses", [["127.0.0.1:1"], ["10.0.0.1:1", "10.0.0.1:2"]])
def test_several_nodes_on_one_machine_may_share_an_address(addresses):
    peers = [Peer(f"{number:040x}", address) for number, address in enumerate(addresses)]
    assert config_values(HomeSettings(), peers)["p2p"]["allow_duplicate_ip"] is True


def test_a_node_is_no_peer_of_itself(tmp_path):
    home = write_home(
        tmp_path, GENESIS, APP_HASH, VALIDATOR, NODE, HomeSettings(), [*PEERS, Peer(node_id(NODE), "me:1")]
    )
    assert "me:1" not in home.config.read_text()


def test_the_engines_own_interface_is_a_socket_unless_an_address_is_set():
    assert config_values(HomeSettings(), [])["rpc"]["laddr"] == "unix://rpc.sock"
    more = config_values(HomeSettings(rpc_listen="127.0.0.1:26657"), [])["rpc"]["laddr"]
    assert more == "unix://rpc.sock,tcp://127.0.0.1:26657"


def test_state_sync_is_off_unless_it_is_asked_for():
    assert config_values(HomeSettings(), [])["statesync"]["enable"] is False
    sync = config_values(HomeSettings(state_sync=StateSyncFrom(("a:1", "b:1"), 7, "00" * 32)), [])["statesync"]
    assert (sync["enable"], sync["rpc_servers"], sync["trust_height"], sync["trust_hash"]) == (
        True,
        "a:1,b:1",
        7,
        "00" * 32,
    )


def test_text_with_quotes_stays_text():
    name = 'a "name" with \\ and \n'
    assert tomllib.loads(config_text(config_values(HomeSettings(name=name), [])))["moniker"] == name


def test_secrets_are_for_their_owner_alone(tmp_path):
    home = written(tmp_path / "engine")
    for path in (home.validator_key, home.node_key, home.validator_state, home.config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_keys_are_in_the_engines_form():
    document = json.loads(validator_key_document(VALIDATOR))
    secret = base64.b64decode(document["priv_key"]["value"])
    assert (secret[:32], secret[32:]) == (VALIDATOR.seed, VALIDATOR.public_key[1:])
    assert base64.b64decode(document["pub_key"]["value"]) == VALIDATOR.public_key[1:]
    assert base64.b64decode(json.loads(node_key_document(NODE))["priv_key"]["value"])[:32] == NODE.seed


def test_writing_it_again_brings_the_configuration_up_to_date_and_keeps_the_guard(tmp_path):
    home = written(tmp_path)
    home.validator_state.write_text('{"height": "812", "round": 0, "step": 3}')
    written(tmp_path, name="renamed")
    assert tomllib.loads(home.config.read_text())["moniker"] == "renamed"
    assert json.loads(home.validator_state.read_text())["height"] == "812"


@pytest.mark.parametrize(
    ("validator", "node", "name"), [(OTHER, NODE, "priv_validator_key"), (VALIDATOR, OTHER, "node_key")]
)
def test_a_folder_with_another_key_is_refused(tmp_path, validator, node, name):
    home = written(tmp_path)
    before = home.validator_key.read_bytes()
    with pytest.raises(GuildbookError, match=name) as caught:
        write_home(tmp_path, GENESIS, APP_HASH, validator, node, HomeSettings(), PEERS)
    assert caught.value.code == "engine.wrong_home"
    assert home.validator_key.read_bytes() == before


def test_a_folder_of_another_genesis_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(GuildbookError, match=r"genesis\.json") as caught:
        write_home(tmp_path, GENESIS, bytes(32), VALIDATOR, NODE, HomeSettings(), PEERS)
    assert caught.value.code == "engine.wrong_home"


def test_with_a_remote_signer_no_key_is_written(tmp_path):
    home = written(tmp_path, signer_listen="tcp://127.0.0.1:26659")
    assert not home.validator_key.exists()
    assert tomllib.loads(home.config.read_text())["priv_validator_laddr"] == "tcp://127.0.0.1:26659"


def test_the_pinned_version_is_the_newest_that_is_known():
    assert HomeSettings().version == binary.PINNED
