"""A node's folder: made whole or not at all, and opened only when everything in it belongs together."""

import os
import shutil
import stat

import pytest

from guildbook.chain.genesis import GenesisOrganisation, GenesisParty, read_genesis
from guildbook.client.keyfile import new_key, read_key
from guildbook.node import Founding, NodeFolder, found_node, make_node, open_node, running_node
from guildbook.node.applications import discover, load_applications
from guildbook.node.config import BadConfiguration
from guildbook.node.folder import announce
from guildbook.node.node import require_assertions
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import key_text
from guildbook.state.rocks import RocksStore
from node_harness import APPLICATIONS, QUICK, administrator, founded


def test_a_new_node_has_everything_it_needs_and_keeps_its_keys_to_itself(tmp_path):
    folder = NodeFolder(founded(tmp_path / "node"))
    assert sorted(one.name for one in folder.path.iterdir()) == [
        "genesis.json",
        "guildbook.toml",
        "keys",
        "store",
    ]
    for path in (folder.validator_key, folder.keys / "admin.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == stat.S_IMODE(folder.keys.stat().st_mode) == 0o700
    genesis = read_genesis(folder.genesis.read_bytes())
    assert genesis.validators[0].key == key_text(read_key(folder.validator_key).public_key)
    with open_node(folder.path) as node:
        assert node.ledger.genesis == genesis
        assert node.client().query("units.total") == 0


def test_the_administrator_holds_every_permission_of_the_founding_contracts(tmp_path):
    folder = founded(tmp_path / "node")
    with open_node(folder) as node:
        node.engine.start()
        client = node.client(administrator(folder))
        assert client.call("units.issue", to="x", units=1).outcome == "applied"
        held = {row["permission"] for row in client.rows("parties.party_roles", "admin").rows}
        assert {"units:issuer", "parties:registrar"} <= held


def test_other_organisations_can_be_founded_beside_it(tmp_path):
    key = new_key()
    mill = GenesisOrganisation(
        "mill", "Mill", "CH", ["units:issuer"],
        [GenesisParty("anna", "person", "Anna", key_text(key.public_key), ["units:issuer"])],
    )  # fmt: skip
    found_node(
        tmp_path / "node",
        Founding("test-net", applications=APPLICATIONS, organisations=(mill,), time_ms=1_700_000_000_000,
                 parameters={"calls_per_transaction_max": 5}),
        settings=QUICK,
    )  # fmt: skip
    with open_node(tmp_path / "node") as node:
        node.engine.start()
        receipt = node.client(key).call("units.issue", to="x", units=1)
        assert (receipt.party, receipt.organisation) == ("anna", "mill")
        assert node.ledger.genesis.time_ms == 1_700_000_000_000
        assert node.ledger.genesis.parameters == {"calls_per_transaction_max": 5}


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    founded(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file", "empty"):
        with pytest.raises(GuildbookError, match=r"store\.not_empty"):
            founded(tmp_path / name)
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["letter"]


@pytest.mark.parametrize(
    ("founding", "settings", "code"),
    [
        (Founding("NOT A NETWORK"), {}, "genesis"),
        (Founding("test-net", applications=("nothing",)), {}, "node.bad_configuration"),
        (Founding("test-net", applications=("sample_contract:Nothing",)), {}, "node.bad_configuration"),
        (Founding("test-net", applications=("no_such_module:Thing",)), {}, "node.bad_configuration"),
        (Founding("test-net", parameters={"nothing": 1}), {}, "genesis.malformed"),
        (Founding("test-net"), {"http.prt": 1}, "node.bad_configuration"),
        (Founding("test-net"), {"http.port": -1}, "node.bad_configuration"),
    ],
)
def test_what_cannot_be_founded_leaves_nothing_behind(tmp_path, founding, settings, code):
    with pytest.raises(GuildbookError) as caught:
        found_node(tmp_path / "node", founding, settings=settings)
    assert caught.value.code.startswith(code)
    assert list(tmp_path.iterdir()) == []


def test_two_nodes_of_one_genesis_have_the_same_first_state(tmp_path):
    folder = NodeFolder(founded(tmp_path / "one"))
    genesis = read_genesis(folder.genesis.read_bytes())
    make_node(tmp_path / "two", genesis, read_key(folder.validator_key), settings=QUICK)
    with open_node(folder.path) as one, open_node(tmp_path / "two") as two:
        assert one.ledger.head == two.ledger.head


def test_a_folder_whose_parts_do_not_belong_together_is_not_opened(tmp_path):
    one, two = founded(tmp_path / "one"), founded(tmp_path / "two")
    shutil.copy(two / "genesis.json", one / "genesis.json")
    with pytest.raises(GuildbookError, match=r"genesis\.mismatch"):
        open_node(one)
    three = founded(tmp_path / "three")
    shutil.copy(two / "keys" / "validator.key", three / "keys" / "validator.key")
    with pytest.raises(GuildbookError, match=r"genesis\.mismatch"):
        open_node(three)
    open_node(two).close()


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("guildbook.toml", r"node\.bad_configuration"),
        ("genesis.json", r"node\.bad_configuration"),
        ("keys/validator.key", r"key\.malformed"),
        ("store", r"store\.missing"),
    ],
)
def test_a_part_that_is_missing_is_named(tmp_path, missing, code):
    folder = founded(tmp_path / "node")
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(GuildbookError, match=code) as caught:
        open_node(folder)
    assert missing.partition("/")[0] in str(caught.value)


def test_a_folder_that_is_in_use_is_not_opened_twice(tmp_path):
    folder = founded(tmp_path / "node")
    with open_node(folder), pytest.raises(GuildbookError, match=r"store\.locked"):
        open_node(folder)
    open_node(folder).close()


def test_a_passphrase_protects_every_key(tmp_path):
    found_node(tmp_path / "node", Founding("test-net"), settings=QUICK, passphrase="correct horse")
    with pytest.raises(GuildbookError, match="under a passphrase"):
        open_node(tmp_path / "node")
    open_node(tmp_path / "node", passphrase="correct horse").close()
    read_key(tmp_path / "node" / "keys" / "admin.key", "correct horse")


def test_a_node_does_not_start_where_assertions_are_off(monkeypatch):
    class Flags:
        optimize = 1

    require_assertions()
    monkeypatch.setattr("sys.flags", Flags)
    with pytest.raises(GuildbookError, match=r"node\.assertions_off"):
        require_assertions()


def test_a_node_that_ended_without_saying_so_does_not_count_as_running(tmp_path):
    folder = founded(tmp_path / "node")
    assert running_node(folder) is None
    (folder / "node.json").write_text('{"pid": 4194305, "url": "http://x"}')
    assert running_node(folder) is None
    (folder / "node.json").write_text(f'{{"pid": {os.getpid()}, "url": "http://x", "began": 1}}')
    assert running_node(folder) is None, "another process has that id by now"
    announce(NodeFolder(folder), "http://x")
    assert running_node(folder).url == "http://x"
    for text in ("{", '{"pid": 1e99, "url": ""}', '{"pid": 99999999999999999999, "url": ""}'):
        (folder / "node.json").write_text(text)
        assert running_node(folder) is None


def test_applications_are_found_by_name_or_given_outright():
    assert [one.contract_name for one in load_applications(list(APPLICATIONS))] == ["units"]
    with pytest.raises(BadConfiguration, match="no application 'nothing'"):
        load_applications(["nothing"])
    for name, path in discover().items():
        assert name
        assert "." in path


def test_founding_on_a_full_volume_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_self, _pairs):
        raise GuildbookError("store.full", "no space is left", hint="free space")

    def breaks(_self):
        raise GuildbookError("store.io", "the last write failed")

    monkeypatch.setattr(RocksStore, "write", full)
    monkeypatch.setattr(RocksStore, "close", breaks)
    with pytest.raises(GuildbookError, match=r"store\.full"):
        found_node(tmp_path / "node", Founding("test-net"))
    assert not (tmp_path / "node").exists()
