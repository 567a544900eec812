"""Checking and replaying a store: sound ones pass, and no damage does."""

import random
import shutil
from pathlib import Path

import pytest

from command_line import CommandLine, environment, filled, finished, founded, process
from guildbook.client.keyfile import read_key
from guildbook.node import open_node
from guildbook.primitives.errors import GuildbookError
from guildbook.state import layout
from guildbook.state.rocks import RocksStore

WITHOUT_EFFECT = ("IDENTITY", "LOG", "LOG.old", "OPTIONS", "rocksdict-config.json", "LOCK")
"""Files of a store's folder whose content nobody reads: names, settings and the diary of RocksDB."""


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A node that was stopped in an orderly way: its tables are in sorted files."""
    folder = founded(tmp_path_factory.mktemp("checking") / "node")
    filled(folder)
    return folder


@pytest.fixture(scope="module")
def killed(stopped, tmp_path_factory):
    """The same node as a crash would leave it: its last blocks are in the write-ahead log alone."""
    folder = tmp_path_factory.mktemp("killed") / "node"
    shutil.copytree(stopped, folder)
    key = read_key(folder / "keys" / "admin.key")
    copy = folder.with_name("copy")
    with open_node(folder) as node:
        node.engine.start()
        client = node.client(key)
        for number in range(4):
            client.call("units.issue", to=f"late-{number}", units=5)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("LOCK"))
    return copy


def content(folder: Path) -> dict[bytes, bytes]:
    """Every pair of a store, as it is in order, by its key, and to whoever opens it for writing."""
    store = RocksStore(folder / "store", must_exist=True, read_only=True)
    try:
        pairs = dict(store.scan(b"", None))
        assert all(store.get(key) == value for key, value in pairs.items())
    finally:
        store.close()
    store = RocksStore(folder / "store", must_exist=True)
    try:
        assert dict(store.scan(b"", None)) == pairs
    finally:
        store.close()
    return pairs


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("LOCK")))


def test_a_store_that_was_stopped_is_sound(run, stopped):
    ran = run.done("check", stopped)
    assert ran.out.splitlines()[:6] == [
        f"{step}: nothing found" for step in ("open", "read", "blocks", "roots", "replay", "compare")
    ]
    assert "is sound at block" in ran.out
    document = run.done("check", stopped, "--json").document
    assert document["sound"]
    assert document["height"] >= 4
    assert len(document["steps"]) == 6


def test_a_store_that_was_killed_is_sound_and_is_not_changed_by_the_check(run, killed):
    before = {one.name: one.read_bytes() for one in (killed / "store").iterdir() if one.name != "LOCK"}
    assert any(name.endswith(".log") and data for name, data in before.items())
    run.done("check", killed)
    after = {one.name: one.read_bytes() for one in (killed / "store").iterdir() if one.name != "LOCK"}
    assert after == before


def test_the_quick_check_reads_everything_and_replays_nothing(run, stopped):
    document = run.done("check", stopped, "--quick", "--json").document
    assert [one["name"] for one in document["steps"]] == ["open", "read", "blocks", "roots"]


@pytest.mark.parametrize("state", ["stopped", "killed"])
def test_a_flipped_byte_is_found_or_has_no_effect(run, state, tmp_path, request):
    """One random byte in each file, again and again; see the long test for many more."""
    flip_and_check(run, request.getfixturevalue(state), tmp_path, rounds=2, seed=20)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("state", ["stopped", "killed"])
def test_many_flipped_bytes_are_found_or_have_no_effect(run, state, tmp_path, request):
    flip_and_check(run, request.getfixturevalue(state), tmp_path, rounds=120, seed=7)


def flip_and_check(run: CommandLine, folder: Path, tmp_path: Path, rounds: int, seed: int) -> None:
    source = random.Random(seed)
    whole = content(copied(folder, tmp_path / "whole"))
    files = [one for one in sorted((folder / "store").iterdir()) if one.stat().st_size]
    assert {one.suffix for one in files} >= {".sst", ".blob"}
    found = 0
    for number in range(rounds):
        for file in files:
            damaged = copied(folder, tmp_path / f"damaged-{number}-{file.name}")
            target = damaged / "store" / file.name
            data = bytearray(target.read_bytes())
            place, bit = source.randrange(len(data)), 1 << source.randrange(8)
            data[place] ^= bit
            target.write_bytes(data)
            ran = run("check", damaged, "--quick")
            where = f"{file.name} of {len(data)} bytes, byte {place}, bit {bit}: {ran}"
            if ran.status == 0:
                assert content(damaged) == whole, where
                assert file.suffix == ".sst" or file.name.startswith(WITHOUT_EFFECT), where
            else:
                assert ran.status == 5, where
                assert "damaged" in ran.out, where
                found += 1
            shutil.rmtree(damaged)
    assert found >= rounds * sum(not one.name.startswith(WITHOUT_EFFECT) for one in files) * 0.7


def forged(folder: Path, *pairs: tuple[bytes, bytes | None]) -> Path:
    """The store with pairs that were written by a hand that knows RocksDB: all checksums are right."""
    store = RocksStore(folder / "store", must_exist=True)
    store.write(pairs)
    store.close()
    return folder


def first_row(folder: Path, space: bytes) -> tuple[bytes, bytes]:
    store = RocksStore(folder / "store", must_exist=True, read_only=True)
    try:
        return next(store.scan(space, None))
    finally:
        store.close()


@pytest.mark.parametrize("space", layout.SPACES, ids=lambda space: space.decode())
def test_a_forged_value_in_any_space_is_found_and_named(run, stopped, tmp_path, space):
    folder = copied(stopped, tmp_path / "node")
    key, value = first_row(folder, space)
    forged(folder, (key, value[:-1] + bytes((value[-1] ^ 1,))))
    ran = run("check", folder, "--json")
    assert ran.status == 5, ran
    assert not ran.document["sound"]
    assert any(step["findings"] for step in ran.document["steps"])


@pytest.mark.parametrize("space", layout.SPACES, ids=lambda space: space.decode())
def test_a_deleted_pair_of_any_space_is_found(run, stopped, tmp_path, space):
    folder = copied(stopped, tmp_path / "node")
    key, _value = first_row(folder, space)
    forged(folder, (key, None))
    assert run("check", folder).status == 5


def test_a_pair_too_many_is_found(run, stopped, tmp_path):
    folder = forged(copied(stopped, tmp_path / "node"), (b"Runits.accounts\0zz", b"\x90"))
    ran = run("check", folder)
    assert ran.status == 5
    assert "row units.accounts 7a7a: it does not follow from the blocks" in ran.out


def test_blocks_that_were_cut_off_behind_are_found(run, stopped, tmp_path):
    """The store put back from a copy of yesterday, beside today's file of the last write."""
    folder = copied(stopped, tmp_path / "node")
    filled(folder, blocks=1)
    shutil.copy(folder / "store" / "LAST-WRITE", tmp_path / "LAST-WRITE")
    older = copied(stopped, tmp_path / "older")
    shutil.copy(tmp_path / "LAST-WRITE", older / "store" / "LAST-WRITE")
    ran = run("check", older)
    assert ran.status == 5
    assert "was acknowledged" in ran.out
    with pytest.raises(GuildbookError, match="was acknowledged"):
        open_node(older)


def test_a_genesis_document_of_another_network_is_found(run, stopped, tmp_path):
    folder = copied(stopped, tmp_path / "node")
    text = (folder / "genesis.json").read_text()
    (folder / "genesis.json").write_text(text.replace("test-net", "other-net"))
    ran = run("check", folder)
    assert ran.status == 5
    assert "genesis.json" in ran.out


def test_a_folder_without_a_node_is_refused(run, tmp_path):
    ran = run("check", tmp_path)
    assert (ran.status, ran.out) == (5, "")
    assert f"{tmp_path} is not the folder of a node" in ran.err
    assert run("check", tmp_path, "--json").error["code"] == "store.missing"
    assert run("check", tmp_path / "nowhere").status == 2


def test_a_running_node_is_not_checked(run, stopped, tmp_path):
    folder = copied(stopped, tmp_path / "node")
    with open_node(folder):
        other = finished(process("check", folder, env=environment()))
    assert other.status == 5
    assert "another process uses the store" in other.err
    assert "what to do:" in other.err


def test_replay_gives_the_same_hashes_and_says_how_quick_it_was(run, stopped):
    ran = run.done("replay", stopped)
    assert "transactions/s" in ran.out
    assert "every application hash is the one that the next header states" in ran.out
    document = run.done("replay", stopped, "--json").document
    assert document["same"]
    assert document["transactions"] == 60
    assert run.done("replay", stopped, "--until", 2, "--json").document["height"] == 2


def test_replay_can_keep_its_result_as_a_store(run, stopped, tmp_path):
    run.done("replay", stopped, "--output", tmp_path / "rebuilt")
    folder = copied(stopped, tmp_path / "node")
    shutil.rmtree(folder / "store")
    shutil.move(tmp_path / "rebuilt", folder / "store")
    assert content(folder) == content(copied(stopped, tmp_path / "whole"))
    run.done("check", folder)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["node", "whole"]


def test_replay_does_not_write_over_anything(run, stopped, tmp_path):
    (tmp_path / "there").mkdir()
    ran = run("replay", stopped, "--output", tmp_path / "there")
    assert ran.status == 5
    assert "exists already" in ran.err
    assert run("replay", stopped, "--until", 0).status == 2


def test_replay_names_the_block_where_the_results_part(run, stopped, tmp_path):
    folder = copied(stopped, tmp_path / "node")
    store = RocksStore(folder / "store", must_exist=True, read_only=True)
    key = layout.height_key(layout.BLOCKS, 2)
    block = store.get(key)
    store.close()
    assert block is not None
    forged(folder, (key, block[:-1] + bytes((block[-1] ^ 1,))))
    ran = run("replay", folder, "--output", tmp_path / "rebuilt")
    assert ran.status == 5
    assert ran.out.startswith("block 2: ") or "the replay" in ran.out
    assert not (tmp_path / "rebuilt").exists()
