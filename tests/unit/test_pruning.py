"""Giving up old blocks, leaving with everything, and joining by state sync: what stays true, and what is refused."""

import base64
import json
import shutil
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest

from command_line import CommandLine, filled, founded
from guildbook.chain.pruning import prune
from guildbook.chain.snapshot import read_metadata, snapshot_hash
from guildbook.client.keyfile import read_key
from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.application import OfferedSnapshot
from guildbook.node import open_node
from guildbook.node.config import make_config
from guildbook.node.pruner import Pruner
from guildbook.node.snapshots import SnapshotStore, write_snapshot
from guildbook.node.state_sync import StateSync
from guildbook.primitives.canonical import encode
from guildbook.primitives.checkpoint import NoteKey, verify_checkpoint
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.primitives.merkle_log import leaf_hash, root
from guildbook.state import layout
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from sample_contract import Units

WITHOUT_VIEWS = make_config({"views": {"enabled": False}}, {}, "test")


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("pruning") / "node")
    filled(folder, blocks=6, calls=5)
    return folder


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("LOCK")))


def pairs_of(folder: Path) -> dict[bytes, bytes]:
    store = RocksStore(folder / "store", must_exist=True, read_only=True)
    try:
        return dict(store.scan(b"", None))
    finally:
        store.close()


def test_pruning_gives_up_blocks_receipts_and_changes_and_nothing_else(run, whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    before = pairs_of(folder)
    document = run.done("prune", folder, "--keep", 3, "--json").document
    first = document["kept_from"]
    assert first == document["height"] - 2 > 1
    after = pairs_of(folder)
    gone = before.keys() - after.keys()
    assert {key[:1] for key in gone} == {layout.BLOCKS, layout.COMMITS, layout.CHANGES}
    assert all(int.from_bytes(key[1:], "big") < first for key in gone)
    assert {
        key for key in before if key[:1] in (b"B", b"K", b"X") and int.from_bytes(key[1:], "big") < first
    } == gone
    assert after.keys() - before.keys() == {b"Mkept"}
    again = run.done("prune", folder, "--keep", 3)
    assert "nothing was given up" in again.out
    assert run("prune", folder, "--keep", 1).status == 2


def test_a_pruned_store_is_checked_as_far_as_that_goes_and_says_so(run, whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    run.done("prune", folder, "--keep", 3)
    ran = run.done("check", folder)
    assert "rebuild: nothing found" in ran.out
    assert "are not kept here" in ran.out
    document = run.done("check", folder, "--json").document
    assert [one["name"] for one in document["steps"]] == [
        "open",
        "read",
        "blocks",
        "roots",
        "receipts",
        "rebuild",
    ]
    assert document["kept_from"] == document["height"] - 2
    ran = run("replay", folder, "--json")
    assert ran.error["code"] == "store.pruned"
    assert ran.error["fields"]["first"] == document["kept_from"]


@pytest.mark.parametrize(
    "space",
    [
        layout.ROWS,
        layout.INDEXES,
        layout.TREE,
        layout.LOG,
        layout.ENTRIES,
        layout.TRANSACTIONS,
        layout.BLOCKS,
        layout.COMMITS,
        layout.CHANGES,
    ],
    ids=lambda space: space.decode(),
)
def test_a_forged_value_or_a_missing_one_in_a_pruned_store_is_found(run, whole, tmp_path, space):
    base = copied(whole, tmp_path / "node")
    run.done("prune", base, "--keep", 3)
    for number, forge in enumerate((lambda value: value[:-1] + bytes((value[-1] ^ 1,)), lambda _value: None)):
        folder = copied(base, tmp_path / f"forged-{number}")
        store = RocksStore(folder / "store", must_exist=True)
        key, value = next(store.scan(space, bytes((space[0] + 1,))))
        store.write([(key, forge(value))])
        store.close()
        ran = run("check", folder, "--json")
        assert ran.status == 5, ran
        assert not ran.document["sound"]


def test_a_pruned_node_goes_on_refuses_repetitions_and_proves_rows(whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    key = read_key(folder / "keys" / "admin.key")
    with open_node(folder, WITHOUT_VIEWS) as node:
        view = node.ledger.view()
        early, late = view.changes(1), view.changes(view.head.height - 1)
        assert early is not None
        assert late is not None
        prune(node.ledger.store, view, 3)
        node.engine.start()
        client = node.client(key)
        old, new = early.transactions[0].id.hex(), late.transactions[0].id.hex()
        with pytest.raises(GuildbookError, match=r"evidence\.not_available.*whole history"):
            client.receipt(old)
        with pytest.raises(GuildbookError, match=r"evidence\.not_available"):
            client.evidence_receipt(old)
        with pytest.raises(GuildbookError, match=r"evidence\.not_available"):
            client.block(1)
        assert client.receipt(new) is not None
        assert client.evidence_receipt(new)
        client.call("units.issue", to="after", units=1)
        assert client.evidence_row("units.accounts", "after")


def test_a_pruned_node_gives_the_same_snapshot(whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    with open_node(folder, WITHOUT_VIEWS) as node:
        before = write_snapshot(node.ledger.view(), tmp_path / "before")
        prune(node.ledger.store, node.ledger.view(), 2)
        after = write_snapshot(node.ledger.view(), tmp_path / "after")
    assert after.info == before.info


def test_a_running_node_gives_up_what_it_may_and_its_views_keep_their_history(tmp_path):
    folder = founded(tmp_path / "node", store__retain_blocks=4)
    key = read_key(folder / "keys" / "admin.key")
    with open_node(folder) as node:
        node._pruner = Pruner(node, 4, every_blocks=1)
        with node.running():
            client = node.client(key)
            for number in range(400):
                receipt = client.call("units.issue", to="one", units=1)
                client.sql("SELECT 1", wait_for=receipt.height)
                if number > 12 and node.ledger.view().kept_from > 6:
                    break
            view = node.ledger.view()
            assert view.kept_from > 6
            assert view.changes_bytes(view.kept_from) is not None
            assert view.changes_bytes(view.kept_from - 1) is None
            rows = client.sql("SELECT units FROM units.accounts", at=3, wait_for=3).rows
            assert len(rows) == 1
    with open_node(folder) as node, node.running():
        assert node.client(key).sql("SELECT units FROM units.accounts", at=3, wait_for=3).rows == rows


def test_views_of_a_pruned_node_that_were_deleted_begin_anew(whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    shutil.rmtree(folder / "views", ignore_errors=True)
    with open_node(folder, WITHOUT_VIEWS) as node:
        prune(node.ledger.store, node.ledger.view(), 3)
    key = read_key(folder / "keys" / "admin.key")
    with open_node(folder) as node, node.running():
        client = node.client(key)
        assert client.sql("SELECT id FROM units.accounts ORDER BY id").rows == [
            [f"account-{n}"] for n in range(5)
        ]
        receipt = client.call("units.issue", to="zz", units=1)
        assert client.sql("SELECT count(*) FROM units.accounts", wait_for=receipt.height).rows == [[6]]


# leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruned", [False, True])
def test_a_leaving_member_takes_everything_along_and_anybody_can_check_it(run, whole, tmp_path, pruned):
    folder, target = copied(whole, tmp_path / "node"), tmp_path / "export"
    if pruned:
        run.done("prune", folder, "--keep", 3)
    document = run.done("export-all", folder, target, "--json").document
    assert document["signed"]
    run.done("check", target)
    assert not list(target.rglob("*.key"))
    manifest = json.loads((target / "export.json").read_text())
    files = {one.relative_to(target).as_posix() for one in target.rglob("*") if one.is_file()}
    assert {one["path"] for one in manifest["files"]} == files - {"export.json", "store/LOCK", "store/LOG"}
    # the log as ordinary tools read it
    key = NoteKey("guildbook/test-net", read_key(folder / "keys" / "validator.key").public_key)
    stated = verify_checkpoint((target / "checkpoint").read_bytes(), key)
    assert stated.size == document["log_size"] == 30
    bundle = (target / "tile" / "entries" / "000.p" / "30").read_bytes()
    entries = [bundle[at + 2 : at + 79] for at in range(0, len(bundle), 79)]
    assert root([leaf_hash(one) for one in entries]) == stated.root
    assert (target / "tile" / "0" / "000.p" / "30").read_bytes() == b"".join(
        leaf_hash(one) for one in entries
    )
    # tables
    table = pyarrow.parquet.read_table(target / "tables" / "units.accounts.parquet").to_pydict()
    assert table["id"] == [f"account-{number}" for number in range(5)]
    history = pyarrow.parquet.read_table(target / "tables" / "units.accounts_history.parquet")
    assert history.num_rows == (5 if pruned else 30)
    assert json.loads((target / "validator-sets.json").read_text())["validator_sets"][0]["first_height"] == 1
    assert run("export-all", folder, target, "--json").error["code"] == "store.not_empty"


def test_an_export_that_was_damaged_is_found(run, whole, tmp_path):
    target = tmp_path / "export"
    run.done("export-all", whole, target)
    store = RocksStore(target / "store", must_exist=True)
    key, value = next(store.scan(layout.ROWS, layout.ROWS_END))
    store.write([(key, value[:-1] + bytes((value[-1] ^ 1,)))])
    store.close()
    assert run("check", target).status == 5


def test_without_its_key_the_checkpoint_is_not_signed(run, whole, tmp_path):
    folder = copied(whole, tmp_path / "node")
    (folder / "keys" / "validator.key").unlink()
    assert not run.done("export-all", folder, tmp_path / "export", "--json").document["signed"]
    lines = (tmp_path / "export" / "checkpoint").read_text().splitlines()
    assert lines[:2] == ["guildbook/test-net", "30"]
    assert len(base64.b64decode(lines[2])) == 32


# state sync ------------------------------------------------------------------------------------------------------

OFFER, APPLY = pb.ResponseOfferSnapshot, pb.ResponseApplySnapshotChunk
ACTORS = {"mint/till": ["units:issuer"]}


@pytest.fixture
def peer(tmp_path):
    ledger = TestLedger(Units, actors=ACTORS)
    for number in range(5):
        ledger.actor("mint/till").units.issue(to=f"account-{number}", units=1)
    store = SnapshotStore(tmp_path / "peer")
    store.take(ledger.ledger.view())
    return ledger, StateSync(ledger.ledger, store)


def joining(tmp_path) -> tuple[TestLedger, StateSync]:
    ledger = TestLedger(Units, actors=ACTORS)
    return ledger, StateSync(ledger.ledger, SnapshotStore(tmp_path / "own"))


def test_a_node_joins_by_state_sync_and_names_whoever_sends_a_wrong_chunk(peer, tmp_path):
    source, given = peer
    (offered,) = given.available()
    trusted = source.ledger.head.app_hash
    own, sync = joining(tmp_path)
    assert sync.available() == []
    assert sync.offer(offered, trusted) == OFFER.ACCEPT
    with pytest.raises(GuildbookError, match=r"snapshot\.unfinished"):
        own.ledger.view()
    for index in range(offered.chunks):
        chunk = given.chunk(offered.height, offered.format, index)
        wrong = sync.apply(index, chunk[:-1], "liar")
        assert (wrong.result, wrong.refetch, wrong.reject_senders) == (APPLY.RETRY, [index], ["liar"])
        assert sync.apply(index, chunk, "honest").result == APPLY.ACCEPT
    assert own.ledger.head.height == source.ledger.head.height
    assert own.ledger.head.app_hash == source.ledger.head.app_hash
    envelope = source.sign(source.actor("mint/till"), [("units.issue", ["later", 1], {})])
    source.cut([envelope])
    own.now_ns = source.now_ns - 1_000_000_000
    own.cut([envelope])
    assert own.ledger.head.app_hash == source.ledger.head.app_hash
    assert sync.offer(offered, trusted) == OFFER.ABORT


def test_offers_that_are_not_the_trusted_state_are_refused(peer, tmp_path):
    source, given = peer
    (offered,) = given.available()
    _own, sync = joining(tmp_path)
    trusted = source.ledger.head.app_hash
    assert sync.apply(0, b"", "").result == APPLY.ABORT
    assert sync.offer(offered, bytes(32)) == OFFER.REJECT
    assert sync.offer(offered._replace(format=2), trusted) == OFFER.REJECT_FORMAT
    assert sync.offer(offered._replace(hash=bytes(32)), trusted) == OFFER.REJECT
    assert sync.offer(offered._replace(chunks=1), trusted) == OFFER.REJECT
    assert sync.offer(offered._replace(height=1), trusted) == OFFER.REJECT
    nonsense = OfferedSnapshot(5, 1, 1, snapshot_hash(b"\x90"), b"\x90")
    assert sync.offer(nonsense, trusted) == OFFER.REJECT
    assert given.chunk(offered.height, offered.format, 999) == b""


def test_a_snapshot_that_does_not_hold_in_the_end_leaves_the_founded_ledger(peer, tmp_path):
    source, given = peer
    (offered,) = given.available()
    metadata = msgspec.structs.replace(read_metadata(offered.metadata), genesis=[sha256(b"{}")])
    data = encode(metadata)
    own, sync = joining(tmp_path)
    head = own.ledger.head
    forged = offered._replace(metadata=data, hash=snapshot_hash(data))
    assert sync.offer(forged, source.ledger.head.app_hash) == OFFER.ACCEPT
    chunks = [b"{}", *(given.chunk(offered.height, 1, index) for index in range(1, offered.chunks))]
    results = [sync.apply(index, chunk, "").result for index, chunk in enumerate(chunks)]
    assert results == [APPLY.ACCEPT] * (len(chunks) - 1) + [APPLY.REJECT_SNAPSHOT]
    assert own.ledger.head == head
    own.actor("mint/till").units.issue(to="x", units=1)


def test_nothing_is_given_where_there_is_no_snapshot(peer):
    _source, given = peer
    assert given.chunk(1, 1, 0) == b""
