"""Snapshots of a node: taken, listed, verified, restored on the command line, and a node that goes on from one."""

import json
import shutil
from pathlib import Path

import pytest

from command_line import QUICK, CommandLine, filled, founded
from guildbook.chain.bundle import decode_bundle
from guildbook.chain.snapshot import Restore
from guildbook.client.keyfile import read_key
from guildbook.node import open_node
from guildbook.node.backup import BackupSocket
from guildbook.node.config import make_config
from guildbook.node.snapshots import Blocks, SnapshotFolder, SnapshotStore, write_snapshot
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("snapshots") / "node")
    filled(folder)
    return folder


@pytest.fixture(scope="module")
def source(node_folder, tmp_path_factory):
    """A snapshot of the node, as it is copied about."""
    place = tmp_path_factory.mktemp("taken") / "state"
    with open_node(node_folder, make_config({"views": {"enabled": False}}, {}, "test")) as node:
        write_snapshot(node.ledger.view(), place)
    return place


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("LOCK")))


def with_keys(node_folder: Path, folder: Path) -> Path:
    shutil.copytree(node_folder / "keys", folder / "keys", dirs_exist_ok=True)
    settings = "\n".join(
        f"{name.split('.')[1]} = {value}" for name, value in QUICK.items() if "sequencer" in name
    )
    (folder / "guildbook.toml").write_text(
        f"[http]\nport = 0\n[store]\nfree_bytes_warn = 0\nfree_bytes_min = 0\n[sequencer]\n{settings}\n"
    )
    return folder


def test_a_snapshot_is_taken_listed_and_verified(run, node_folder, tmp_path):
    folder = copied(node_folder, tmp_path / "node")
    assert "no snapshots" in run.done("snapshot", "list", folder).out
    document = run.done("snapshot", "take", folder, "--json").document
    assert document["height"] >= 4
    assert document["chunks"] >= 3
    again = run("snapshot", "take", folder, "--json")
    assert again.error["code"] == "store.not_empty"
    listed = run.done("snapshot", "list", folder, "--json").document["snapshots"]
    assert [one["hash"] for one in listed] == [document["hash"]]
    place = folder / "snapshots" / str(document["height"])
    run.done("snapshot", "verify", place, "--genesis", folder / "genesis.json")
    run.done("trust", folder, "-o", tmp_path / "trust.json")
    assert "VERIFIED" in run.done("snapshot", "verify", place, "--trust", tmp_path / "trust.json").out
    run.done("snapshot", "verify", place, "--app-hash", document["app_hash"])


def test_a_running_node_gives_the_same_snapshot_as_a_stopped_one(run, node_folder, source, tmp_path):
    folder = copied(node_folder, tmp_path / "node")
    with open_node(folder) as node, BackupSocket(folder, node.ledger.store), node.running():
        document = run.done("snapshot", "take", folder, "--output", tmp_path / "live", "--json").document
    assert document["hash"] == SnapshotFolder(source).info.hash.hex()
    for one in source.iterdir():
        assert (tmp_path / "live" / one.name).read_bytes() == one.read_bytes(), one.name


def test_verify_wants_something_to_hold_the_snapshot_against(run, source):
    assert run("snapshot", "verify", source).status == 2
    assert run("snapshot", "verify", source, "--app-hash", "zz").status == 2
    assert (
        run("snapshot", "verify", source.parent, "--app-hash", "00" * 32, "--json").error["code"]
        == "store.missing"
    )


def test_another_application_hash_or_network_is_refused(run, node_folder, source, tmp_path):
    ran = run("snapshot", "verify", source, "--app-hash", "00" * 32, "--json")
    assert (ran.status, ran.error["code"]) == (6, "snapshot.wrong_app_hash")
    other = founded(tmp_path / "other")
    ran = run("snapshot", "verify", source, "--genesis", other / "genesis.json", "--json")
    assert ran.error["code"] == "snapshot.wrong_network"
    run.done("trust", other, "-o", tmp_path / "trust.json")
    ran = run("snapshot", "verify", source, "--trust", tmp_path / "trust.json", "--json")
    assert (ran.status, ran.error["code"]) == (6, "snapshot.wrong_block")
    trust = json.loads((tmp_path / "trust.json").read_text())
    (tmp_path / "strange.json").write_text(json.dumps({**trust, "network": "strange-net"}))
    ran = run("snapshot", "verify", source, "--trust", tmp_path / "strange.json", "--json")
    assert ran.error["code"] == "snapshot.wrong_network"


def test_a_damaged_chunk_or_a_missing_one_is_refused(run, node_folder, source, tmp_path):
    for number, file in enumerate(sorted(one for one in source.iterdir() if one.name.isdigit())):
        folder = copied(source, tmp_path / f"damaged-{number}")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        (folder / file.name).write_bytes(data)
        for command in (["verify", folder], ["restore", folder, tmp_path / f"node-{number}"]):
            ran = run("snapshot", *command, "--genesis", node_folder / "genesis.json", "--json")
            assert (ran.status, ran.error["code"]) == (6, "snapshot.bad_chunk")
        (folder / file.name).unlink()
        ran = run("snapshot", "verify", folder, "--genesis", node_folder / "genesis.json", "--json")
        assert ran.error["code"] == "snapshot.incomplete"


def test_blocks_that_are_forged_or_lost_prove_nothing(run, node_folder, source, tmp_path):
    blocks = SnapshotFolder(source).blocks()
    folder = copied(source, tmp_path / "state")
    genesis = node_folder / "genesis.json"
    for forged, code in (
        (b"", "unproven"),
        (b"\xff" * 40, "unproven"),
        (encode(Blocks(blocks.block, b"", b"", b"")), "unproven"),
        (encode(Blocks(blocks.block, blocks.block, b"", b"")), "wrong_block"),
        (encode(Blocks(blocks.block[:-3], blocks.commit, b"", b"")), "wrong_block"),
        (encode(Blocks(blocks.block, blocks.commit, blocks.block[:90], blocks.commit)), "wrong_block"),
    ):
        (folder / "blocks").write_bytes(forged)
        ran = run("snapshot", "verify", folder, "--genesis", genesis, "--json")
        assert (ran.status, ran.error["code"]) == (6, f"snapshot.{code}"), forged[:20]
    (folder / "blocks").unlink()
    assert (
        run("snapshot", "verify", folder, "--genesis", genesis, "--json").error["code"] == "snapshot.unproven"
    )
    app_hash = SnapshotFolder(source).metadata.app_hash.hex()
    run.done("snapshot", "restore", folder, tmp_path / "node", "--genesis", genesis, "--app-hash", app_hash)


def test_a_restored_node_goes_on_and_says_what_it_does_not_keep(run, node_folder, source, tmp_path):
    genesis = node_folder / "genesis.json"
    folder = tmp_path / "restored"
    ran = run.done("snapshot", "restore", source, folder, "--genesis", genesis)
    assert "next: put the node's secret keys" in ran.out
    with_keys(node_folder, folder)
    key = read_key(node_folder / "keys" / "admin.key")
    view_of = copied(node_folder, tmp_path / "node")
    with open_node(view_of, make_config({"views": {"enabled": False}}, {}, "test")) as live:
        height = live.ledger.head.height
        app_hash = live.ledger.head.app_hash
        old = next(iter(live.ledger.view().changes(1).transactions)).id
        block = live.ledger.view().block(1)
        assert block is not None
        envelope = decode_bundle(block.txs[0])[0]
    with open_node(folder) as node, node.running():
        assert node.ledger.head.height == height
        assert node.ledger.head.app_hash == app_hash
        client = node.client(key)
        answer = client.batch([envelope])[0]
        assert (answer.receipt, answer.code) == (None, "evidence.not_available")
        with pytest.raises(GuildbookError, match="does not take effect again"):
            client.submit(envelope)
        for call in (
            lambda: client.receipt(old.hex()),
            lambda: client.evidence_receipt(old.hex()),
            lambda: client.block(1),
        ):
            with pytest.raises(GuildbookError) as caught:
                call()
            assert caught.value.code == "evidence.not_available"
            assert "whole history" in caught.value.hint
        receipt = client.call("units.issue", to="after", units=9)
        statement = "SELECT id, units FROM units.accounts WHERE id IN ('after', 'account-3') ORDER BY id"
        assert client.sql(statement, wait_for=receipt.height).rows == [["account-3", 6], ["after", 9]]
        assert client.sql(statement, at=height).rows == [["account-3", 6]]
        with pytest.raises(GuildbookError, match=r"sql\.unknown_height"):
            client.sql(statement, at=height - 1)
        assert client.evidence_row("units.accounts", "after")
    assert not (folder / "views" / "begun").exists()
    with open_node(folder) as node, node.running():
        client = node.client(key)
        receipt = client.call("units.issue", to="later", units=9)
        assert client.sql("SELECT count(*) FROM units.accounts", wait_for=receipt.height).rows == [[22]]


def test_a_restore_that_was_cut_off_goes_on(run, node_folder, source, tmp_path):
    folder = tmp_path / "restored"
    genesis = node_folder / "genesis.json"
    run.done("snapshot", "restore", source, folder, "--genesis", genesis)
    whole = sorted(folder.rglob("genesis.json"))
    assert whole
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(genesis, half / "genesis.json")
    found = SnapshotFolder(source)
    store = RocksStore(half / "store")
    restore = Restore(store, Registry())
    restore.offer(found.metadata_bytes, found.metadata.app_hash)
    restore.apply_chunk(1, found.chunk(1))
    store.close()
    ran = run("check", half, "--json")
    assert ran.status != 0
    run.done("snapshot", "restore", source, half)
    assert run("snapshot", "restore", source, half, "--json").error["code"] == "snapshot.not_empty"


def test_a_folder_with_another_genesis_or_content_is_not_touched(run, node_folder, source, tmp_path):
    other = founded(tmp_path / "other")
    assert run("snapshot", "restore", source, other, "--json").error["code"] == "snapshot.wrong_network"
    ran = run("snapshot", "restore", source, other, "--genesis", node_folder / "genesis.json", "--json")
    assert ran.error["code"] == "genesis.mismatch"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    ran = run(
        "snapshot", "restore", source, tmp_path / "full", "--genesis", node_folder / "genesis.json", "--json"
    )
    assert ran.error["code"] == "store.not_empty"
    assert run("snapshot", "restore", source, tmp_path / "new").status == 2


def test_a_node_takes_snapshots_by_itself_and_keeps_the_last(tmp_path):
    folder = founded(tmp_path / "node", snapshots__interval_blocks=2, snapshots__kept_max=2)
    key = read_key(folder / "keys" / "admin.key")
    store = SnapshotStore(folder / "snapshots")
    with open_node(folder) as node, node.running():
        client = node.client(key)
        for number in range(2_000):  # one that is still being made when the next is due is finished first
            client.call("units.issue", to=f"account-{number}", units=1)
            heights = store.heights()
            if number > 8 and len(heights) == 2 and store.folder(heights[1]).blocks().next_header:
                break
    found = store.list()
    assert len(found) == 2
    assert all(one.height % 2 == 0 for one in found)
    assert found[0].height > found[1].height
    for one in found:
        for index in range(one.chunks):
            assert store.load_chunk(one.height, one.format, index) == store.folder(one.height).chunk(index)
        store.folder(one.height).verify()
    assert store.load_chunk(found[0].height, 99, 0) is None
    assert store.load_chunk(found[0].height, 1, 10_000) is None
    assert store.load_chunk(1, 1, 0) is None
    blocks = store.folder(found[1].height).blocks()
    assert blocks.next_header


def test_what_is_no_snapshot_is_passed_over(tmp_path):
    assert SnapshotStore(tmp_path / "nowhere").list() == []
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "metadata").write_bytes(b"\x90")
    (tmp_path / "letters").mkdir()
    assert SnapshotStore(tmp_path).list() == []
