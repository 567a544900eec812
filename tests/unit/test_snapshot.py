"""Snapshots: the same bytes on every node, every chunk verified by itself, and ledgers that go on from them."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.chain.block import build_block, sign_commit
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.head import GENESIS_KEY, HEAD_KEY, Roots, application_hash, decode_head
from guildbook.chain.ledger import Ledger, View
from guildbook.chain.receipt import Location, Outcome, decode_receipt
from guildbook.chain.snapshot import (
    CHUNK_ENTRIES,
    LastBlock,
    Metadata,
    Restore,
    read_metadata,
    snapshot_hash,
    take_snapshot,
)
from guildbook.chain.transition import BlockInput
from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.cometbft import ValidatorSet, encode_commit, encode_validator_set
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.primitives.keys import SigningKey
from guildbook.primitives.log_entry import ENTRY_SIZE_BYTES, entry_of
from guildbook.primitives.merkle_log import extend, leaf_hash
from guildbook.primitives.state_tree import TreeProof
from guildbook.state import layout
from guildbook.state.kv import KeyValueStore, MemoryStore
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_named
from sample_contract import Units

SMALL = 2_000
"""Chunks of this size make several of a small ledger."""
ACTORS = {"mint/till": ["units:issuer"], "market/anna": []}


def played(blocks: int = 6, store: KeyValueStore | None = None) -> tuple[TestLedger, list[bytes]]:
    """A ledger with some life in it, and the envelopes of its transactions."""
    ledger = TestLedger(Units, actors=ACTORS, store=store)
    till, anna = ledger.actor("mint/till"), ledger.actor("market/anna")
    envelopes = []
    for number in range(blocks):
        sent = [
            ledger.sign(till, [("units.issue", [f"account-{number * 7 + turn}", turn + 1], {})])
            for turn in range(7)
        ]
        sent.append(ledger.sign(anna, [("units.move", [f"account-{number}", "account-0", 1_000], {})]))
        sent.append(ledger.sign(anna, [("units.move", ["account-1", f"account-{number * 7}", 1], {})]))
        sent.append(sent[0])  # a repetition: it is recorded as invalid
        sent.append(b"no transaction")
        ledger.cut(sent)
        envelopes += sent[:9]
    return ledger, envelopes


def taken(view: View, size: int = SMALL) -> tuple[bytes, list[bytes]]:
    chunks: list[bytes] = []

    def put(index: int, data: bytes) -> None:
        assert index == len(chunks)
        chunks.append(data)

    return take_snapshot(view, put, chunk_size_bytes=size), chunks


def restored(
    metadata: bytes, chunks: list[bytes], ledger: TestLedger, store: KeyValueStore
) -> Ledger:
    restore = Restore(store, ledger.registry, ledger.ledger.genesis.hash)
    restore.offer(metadata, ledger.ledger.head.app_hash)
    for index, chunk in enumerate(chunks):
        assert restore.apply_chunk(index, chunk)
    return restore.finish()


def content(store: KeyValueStore) -> dict[bytes, bytes]:
    return dict(store.scan(b"", None))


def refuses(code: str, call: Any) -> GuildbookError:
    with pytest.raises(GuildbookError) as caught:
        call()
    assert caught.value.code == f"snapshot.{code}", caught.value
    return caught.value


LEDGER, ENVELOPES = played()
VIEW = LEDGER.ledger.view()
METADATA, CHUNKS = taken(VIEW)
ROWS_FROM = len(read_metadata(METADATA).genesis)
LOG_FROM = len(CHUNKS) - 1


def offered() -> Restore:
    restore = Restore(MemoryStore(), LEDGER.registry, LEDGER.ledger.genesis.hash)
    restore.offer(METADATA, LEDGER.ledger.head.app_hash)
    return restore


# the same everywhere ---------------------------------------------------------------------------------------------


def test_there_are_several_chunks_of_each_kind_but_the_log():
    metadata = read_metadata(METADATA)
    assert len(metadata.genesis) > 1
    assert len(metadata.rows) > 2
    assert len(metadata.log) == 1
    assert metadata.chunks == len(CHUNKS)
    assert metadata.app_hash == LEDGER.ledger.head.app_hash


def test_live_replayed_and_restored_ledgers_give_the_same_bytes(tmp_path):
    live = taken(VIEW)
    again, _ = played()
    assert taken(again.ledger.view()) == live
    rocks = RocksStore(tmp_path / "store")
    try:
        other = restored(METADATA, CHUNKS, LEDGER, rocks)
        assert taken(other.view()) == live
        third = restored(*taken(other.view()), LEDGER, MemoryStore())
        assert taken(third.view()) == live
    finally:
        rocks.close()


def test_another_history_with_the_same_state_gives_the_same_rows():
    """The order in which rows came to be leaves no trace in the chunks of rows."""
    keys = [f"account-{number}" for number in range(40)]
    found = []
    for order in (keys, keys[::-1]):
        ledger = TestLedger(Units, actors=ACTORS)
        with ledger.block():
            for name in order:
                ledger.actor("mint/till").units.issue(to=name, units=5)
        metadata, _chunks = taken(ledger.ledger.view())
        found.append(list(read_metadata(metadata).rows))
    assert found[0] == found[1]


def test_a_restored_store_is_the_live_one_without_its_old_blocks(tmp_path):
    store = MemoryStore()
    restored(METADATA, CHUNKS, LEDGER, store)
    height = LEDGER.ledger.head.height
    old = {
        key: value
        for key, value in content(LEDGER.store).items()
        if key[:1] != layout.CHANGES
        and not (key[:1] == layout.ROOTS and key != layout.height_key(layout.ROOTS, height))
    }
    assert content(store) == old | {b"Mkept": encode(height + 1)}


def test_a_restored_ledger_goes_on_with_equal_roots_and_refuses_what_was_there_before():
    ledger, envelopes = played()
    other = restored(*taken(ledger.ledger.view()), ledger, MemoryStore())
    head = other.head
    assert (head.height, head.app_hash) == (ledger.ledger.head.height, ledger.ledger.head.app_hash)
    till = ledger.actor("mint/till")
    new = [ledger.sign(till, [("units.issue", [f"new-{number}", 3], {})]) for number in range(5)]
    receipts = ledger.cut([*envelopes, *new])
    assert [one.code for one in receipts] == ["transaction.duplicate"] * len(envelopes) + [""] * 5
    block = BlockInput(head.height + 1, ledger.now_ns, [encode_bundle([*envelopes, *new])])
    result = other.apply(block)
    other.commit(result)
    assert [decode_receipt(one) for one in result.receipts] == receipts
    assert other.head == ledger.ledger.head
    other.view().execution().check_invariants()


# refusals of chunks ----------------------------------------------------------------------------------------------


@given(st.data())
def test_any_flipped_bit_in_any_chunk_is_refused(data):
    index = data.draw(st.integers(0, len(CHUNKS) - 1))
    place = data.draw(st.integers(0, len(CHUNKS[index]) - 1))
    bit = data.draw(st.integers(0, 7))
    forged = bytearray(CHUNKS[index])
    forged[place] ^= 1 << bit
    restore = offered()
    before = content(restore._store)
    error = refuses("bad_chunk", lambda: restore.apply_chunk(index, bytes(forged)))
    assert error.fields["chunk"] == index
    assert content(restore._store) == before


@given(st.integers(0, len(CHUNKS) - 1), st.binary(max_size=200))
def test_any_bytes_as_a_chunk_are_refused(index, data):
    refuses("bad_chunk", lambda: offered().apply_chunk(index, data))


@pytest.mark.parametrize("index", [0, ROWS_FROM, ROWS_FROM + 1, LOG_FROM])
def test_a_truncated_or_longer_chunk_is_refused(index):
    for data in (b"", CHUNKS[index][:-1], CHUNKS[index] + b"\0"):
        refuses("bad_chunk", lambda data=data: offered().apply_chunk(index, data))


def test_a_chunk_in_the_place_of_another_is_refused_and_named():
    error = refuses("bad_chunk", lambda: offered().apply_chunk(ROWS_FROM, CHUNKS[ROWS_FROM + 1]))
    assert f"these are the bytes of chunk {ROWS_FROM + 1}" in error.message
    for index in (-1, len(CHUNKS)):
        refuses("bad_chunk", lambda index=index: offered().apply_chunk(index, CHUNKS[0]))


def test_a_chunk_that_is_too_large_is_refused():
    refuses("bad_chunk", lambda: offered().apply_chunk(0, bytes(16_000_001)))


def test_chunks_may_come_in_any_order_and_twice():
    restore = offered()
    order = [*range(len(CHUNKS))][::-1]
    for index in order:
        assert restore.apply_chunk(index, CHUNKS[index])
        assert not restore.apply_chunk(index, CHUNKS[index])
        refuses("bad_chunk", lambda index=index: restore.apply_chunk(index, CHUNKS[index][:-1]))
    assert restore.finish().head.app_hash == LEDGER.ledger.head.app_hash


def with_metadata(**changes: object) -> bytes:
    return encode(msgspec.structs.replace(read_metadata(METADATA), **changes))


def forged_rows(rows: list[tuple[bytes, bytes]], place: int) -> tuple[bytes, bytes]:
    """Metadata and chunk of a liar who gives other rows in a chunk, with the proof of the right ones."""
    _rows, proof = decode(CHUNKS[ROWS_FROM + place], tuple[list[tuple[bytes, bytes]], TreeProof])
    chunk = encode([rows, proof])
    listed = list(read_metadata(METADATA).rows)
    listed[place] = type(listed[place])(listed[place].start, sha256(chunk))
    return with_metadata(rows=listed), chunk


def test_forged_rows_are_refused_though_the_metadata_agrees_with_them():
    for place in range(len(read_metadata(METADATA).rows)):
        rows, _ = decode(CHUNKS[ROWS_FROM + place], tuple[list[tuple[bytes, bytes]], TreeProof])
        if not rows:
            continue
        key, row = rows[0]
        wrong = (
            rows[1:],
            rows[:-1],
            [(key, row + b"\0"), *rows[1:]],
            [(key + b"\1", row), *rows[1:]],
            [*rows, (b"zz\0zz", row)],
            rows[::-1] if len(rows) > 1 else [],
        )
        for forged in wrong:
            metadata, chunk = forged_rows(forged, place)
            restore = Restore(MemoryStore(), LEDGER.registry)
            restore.offer(metadata, LEDGER.ledger.head.app_hash)
            refuses(
                "bad_chunk",
                lambda restore=restore, place=place, chunk=chunk: restore.apply_chunk(
                    ROWS_FROM + place, chunk
                ),
            )


def test_forged_entries_are_refused():
    """An id that is left out or changed would let its transaction take effect again."""
    data = CHUNKS[LOG_FROM]
    first, second = data[:ENTRY_SIZE_BYTES], data[ENTRY_SIZE_BYTES : 2 * ENTRY_SIZE_BYTES]
    for forged in (
        second + first + data[2 * ENTRY_SIZE_BYTES :],
        first + first + data[2 * ENTRY_SIZE_BYTES :],
        data[:44] + b"\2" + data[45:],
        bytes(32) + data[32:],
    ):
        refuses("bad_chunk", lambda forged=forged: offered().apply_chunk(LOG_FROM, forged))


def test_a_forged_genesis_document_is_refused():
    genesis = (VIEW.reader.get(GENESIS_KEY) or b"").replace(b'"council"', b'"connect"')
    metadata = with_metadata(genesis=[sha256(genesis)])
    chunks = [genesis, *CHUNKS[ROWS_FROM:]]
    restore = Restore(MemoryStore(), LEDGER.registry)
    restore.offer(metadata, LEDGER.ledger.head.app_hash)
    for index, chunk in enumerate(chunks):
        restore.apply_chunk(index, chunk)
    refuses("wrong_network", restore.finish)


# refusals of metadata --------------------------------------------------------------------------------------------


def test_metadata_of_another_application_hash_is_refused():
    store = MemoryStore()
    restore = Restore(store, LEDGER.registry)
    refuses("wrong_app_hash", lambda: restore.offer(METADATA, bytes(32)))
    for changes in ({"state_root": bytes(32)}, {"log_size": LEDGER.ledger.head.log_size - 1}):
        refuses(
            "wrong_app_hash",
            lambda changes=changes: restore.offer(with_metadata(**changes), LEDGER.ledger.head.app_hash),
        )
    assert content(store) == {}


def test_metadata_of_another_genesis_is_refused():
    restore = Restore(MemoryStore(), LEDGER.registry, bytes(32))
    refuses("wrong_network", lambda: restore.offer(METADATA, LEDGER.ledger.head.app_hash))


def test_metadata_of_another_format_is_refused():
    refuses("wrong_format", lambda: read_metadata(with_metadata(format=2)))
    refuses("wrong_format", lambda: read_metadata(encode(["guildbook-snapshot", 2, "whatever", "comes"])))


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": "something else"},
        {"height": 0},
        {"height": -1},
        {"time_ns": 0},
        {"log_size": CHUNK_ENTRIES + 1},
        {"log_root": bytes(32)},
        {"log": []},
        {"genesis": []},
        {"genesis": [b""]},
        {"rows": []},
        {"block_hash": b""},
        {"validators": []},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_metadata_that_contradicts_itself_is_refused(changes):
    refuses("malformed", lambda: read_metadata(with_metadata(**changes)))


def test_metadata_with_chunks_or_sets_out_of_order_is_refused():
    rows = list(read_metadata(METADATA).rows)
    for wrong in (rows[1:], rows[::-1], [*rows, rows[-1]]):
        refuses("malformed", lambda wrong=wrong: read_metadata(with_metadata(rows=wrong)))
    begin = read_metadata(METADATA).validators[0]
    kind = type(begin)
    height = LEDGER.ledger.head.height
    for sets in (
        [kind(height + 1, begin.validators)],
        [begin, begin],
        [begin, kind(height, begin.validators)],
        [kind(1, b"\xff")],
        [kind(0, begin.validators)],
    ):
        refuses("malformed", lambda sets=sets: read_metadata(with_metadata(validators=sets)))
    read_metadata(with_metadata(validators=[begin, kind(height + 2, begin.validators)]))


@pytest.mark.fuzz
@given(st.one_of(st.binary(max_size=300), st.integers(0, len(METADATA) - 1).map(lambda at: METADATA[:at])))
def test_any_bytes_as_metadata_are_refused(data):
    with pytest.raises(GuildbookError, match=r"snapshot\.(malformed|wrong_format)"):
        read_metadata(data)


@pytest.mark.fuzz
@given(st.integers(0, len(METADATA) - 1), st.integers(1, 255))
def test_a_changed_byte_of_metadata_is_refused_or_names_another_snapshot(place, change):
    forged = METADATA[:place] + bytes((METADATA[place] ^ change,)) + METADATA[place + 1 :]
    restore = Restore(MemoryStore(), LEDGER.registry, LEDGER.ledger.genesis.hash)
    try:
        metadata = restore.offer(forged, LEDGER.ledger.head.app_hash)
    except GuildbookError as error:
        if not error.code.startswith("snapshot."):
            raise
        return
    assert snapshot_hash(forged) != snapshot_hash(METADATA)
    assert isinstance(metadata, Metadata)


def test_metadata_that_is_too_long_is_refused():
    refuses("malformed", lambda: read_metadata(bytes((4 << 20) + 1)))


def test_a_first_validator_set_that_is_not_that_of_genesis_is_refused():
    other = encode_validator_set(
        ValidatorSet.of(
            [type(LEDGER.ledger.genesis.validator_set.validators[0])(key_named("x").public_key, 1)]
        )
    )
    kind = type(read_metadata(METADATA).validators[0])
    restore = Restore(MemoryStore(), LEDGER.registry)
    restore.offer(with_metadata(validators=[kind(1, other)]), LEDGER.ledger.head.app_hash)
    for index, chunk in enumerate(CHUNKS):
        restore.apply_chunk(index, chunk)
    refuses("malformed", restore.finish)


# the way to a ledger ---------------------------------------------------------------------------------------------


def test_a_restore_that_lacks_a_chunk_is_no_ledger():
    restore = offered()
    for index in range(len(CHUNKS) - 1):
        restore.apply_chunk(index, CHUNKS[index])
        refuses("unfinished", lambda: Ledger(restore._store, LEDGER.registry))
    error = refuses("incomplete", restore.finish)
    assert f"the first is {len(CHUNKS) - 1}" in error.message
    refuses("unfinished", lambda: Ledger(restore._store, LEDGER.registry))
    refuses("unfinished", lambda: Ledger.create(restore._store, LEDGER.ledger.genesis, LEDGER.registry))


class _Failing(MemoryStore):
    """A store that fails at its nth write."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def write(self, pairs):
        if self.left == 0:
            raise GuildbookError("store.io", "the machine stops here")
        self.left -= 1
        super().write(pairs)


def test_a_restore_that_was_cut_off_at_any_write_goes_on_and_is_no_ledger_before():
    live = None
    for limit in itertools.count(1):
        store = _Failing()
        store.left = limit
        try:
            live = restored(METADATA, CHUNKS, LEDGER, store)  # type: ignore[arg-type]
            break
        except GuildbookError as error:
            if error.code != "store.io":
                raise
        store.left = -1
        with pytest.raises(GuildbookError, match=r"snapshot\.unfinished|store\.missing"):
            Ledger(store, LEDGER.registry)
        restore = Restore(store, LEDGER.registry, LEDGER.ledger.genesis.hash)
        restore.offer(METADATA, LEDGER.ledger.head.app_hash)
        for index in list(restore.missing):
            assert restore.apply_chunk(index, CHUNKS[index])
        assert taken(restore.finish().view()) == (METADATA, CHUNKS)
    assert live is not None
    assert limit > len(CHUNKS) + 3


def test_a_restore_goes_on_with_the_chunks_that_are_missing():
    restore = offered()
    for index in (0, 2, 3):
        restore.apply_chunk(index, CHUNKS[index])
    again = Restore(restore._store, LEDGER.registry)
    again.offer(METADATA, LEDGER.ledger.head.app_hash)
    assert again.missing == [index for index in range(len(CHUNKS)) if index not in (0, 2, 3)]


def test_another_snapshot_begins_anew_and_leaves_nothing_of_the_first():
    store = MemoryStore()
    restore = Restore(store, LEDGER.registry)
    restore.offer(METADATA, LEDGER.ledger.head.app_hash)
    for index in range(len(CHUNKS) - 1):
        restore.apply_chunk(index, CHUNKS[index])
    later, _ = played(8)
    restored(*taken(later.ledger.view()), later, store)
    fresh = MemoryStore()
    restored(*taken(later.ledger.view()), later, fresh)
    assert content(store) == content(fresh)


def test_a_ledger_with_blocks_is_not_overwritten():
    ledger, _ = played(1)
    before = content(ledger.store)
    restore = Restore(ledger.store, LEDGER.registry)
    refuses("not_empty", lambda: restore.offer(METADATA, LEDGER.ledger.head.app_hash))
    assert content(ledger.store) == before


def test_a_ledger_that_was_only_founded_is_replaced_or_founded_again():
    founded = TestLedger(Units, actors=ACTORS)
    before = content(founded.store)
    restore = Restore(founded.store, LEDGER.registry, founded.ledger.genesis.hash)
    restore.offer(METADATA, LEDGER.ledger.head.app_hash)
    restore.apply_chunk(1, CHUNKS[1])
    restore.abandon()
    assert content(founded.store) == {}
    Ledger.create(founded.store, founded.ledger.genesis, LEDGER.registry)
    assert content(founded.store) == before
    restored(METADATA, CHUNKS, LEDGER, founded.store)  # type: ignore[arg-type]


def test_there_is_no_snapshot_before_the_first_block():
    refuses("no_block", lambda: taken(TestLedger(Units).ledger.view()))


# the last block --------------------------------------------------------------------------------------------------


def chain() -> tuple[TestLedger, LastBlock]:
    """A ledger whose last block is a block with a commit, as the solo engine makes them, and empty."""
    ledger, _ = played(2)
    validators = ledger.ledger.genesis.validator_set
    validator = validators.validators[0]
    head = ledger.ledger.head
    time_ns = head.time_ns + 5
    built = build_block("test-net", head, None, validators, validator, time_ns, ())
    result = ledger.ledger.apply(BlockInput(head.height + 1, time_ns, ()))
    ledger.ledger.commit(result, built.id, head.app_hash)
    commit = sign_commit("test-net", head.height + 1, built.id, time_ns, ledger._validator, validator)
    return ledger, LastBlock(built.data, encode_commit(commit))


def finish_with(ledger: TestLedger, last: LastBlock, metadata: bytes | None = None) -> Ledger:
    own, chunks = taken(ledger.ledger.view())
    restore = Restore(MemoryStore(), ledger.registry)
    restore.offer(metadata or own, ledger.ledger.head.app_hash)
    for index, chunk in enumerate(chunks):
        restore.apply_chunk(index, chunk)
    return restore.finish(last)


def test_the_last_block_gives_the_whole_head():
    ledger, last = chain()
    other = finish_with(ledger, last)
    assert other.head == ledger.ledger.head
    assert other.view().block_bytes(other.head.height) == last.block
    assert other.view().commit(other.head.height) is not None


def test_a_last_block_that_is_another_or_not_signed_is_refused():
    ledger, last = chain()
    other, strange = played(2)[0], SigningKey.from_seed(bytes(32))
    validators = other.ledger.genesis.validator_set
    head = other.ledger.head
    built = build_block("test-net", head, None, validators, validators.validators[0], head.time_ns + 6, ())
    forged = sign_commit("test-net", head.height + 1, built.id, 1, strange, validators.validators[0])
    for wrong in (
        LastBlock(built.data, last.commit),
        LastBlock(last.block, encode_commit(forged)),
        LastBlock(last.block[:-1], last.commit),
        LastBlock(b"", b""),
    ):
        refuses("wrong_block", lambda wrong=wrong: finish_with(ledger, wrong))
    metadata = read_metadata(taken(ledger.ledger.view())[0])
    for changes in ({"time_ns": 7}, {"block_hash": bytes(32)}, {"previous_app_hash": bytes(32)}):
        lie = encode(msgspec.structs.replace(metadata, **changes))
        refuses("wrong_block", lambda lie=lie: finish_with(ledger, last, lie))


# a long log ------------------------------------------------------------------------------------------------------


def test_a_log_of_several_chunks_whose_borders_divide_blocks_comes_back_whole():
    """The entries are made up: what counts is that the store is the same as the one that wrote them block by block."""
    ledger, _ = played(1)
    store, head = ledger.store, ledger.ledger.head
    assert isinstance(store, MemoryStore)
    edge = ledger.ledger.state.edge
    height = head.height
    for size in (60_000, 70_000, 3, 2 * CHUNK_ENTRIES - 130_003 - edge.size, 1, 999):
        height += 1
        entries = [
            entry_of(b"receipt %d" % place, sha256(b"%d %d" % (height, place)), height, place, place % 3)
            for place in range(size)
        ]
        first = edge.size
        edge, tiles = extend(edge, [leaf_hash(one) for one in entries])
        writes = [(layout.LOG + key, value) for key, value in tiles.items()]
        writes.append((layout.height_key(layout.ENTRIES, first), b"".join(entries)))
        writes += [
            (layout.TRANSACTIONS + one[:32], encode(Location(height, place, first + place)))
            for place, one in enumerate(entries)
            if place % 3 != Outcome.INVALID
        ]
        store._values.update(writes)
    store._keys = sorted(store._values)
    roots = Roots(head.state_root, edge.root(), edge.size)
    app_hash = application_hash(roots.state_root, roots.log_root, roots.log_size)
    store.write(
        [
            (layout.height_key(layout.ROOTS, height), encode(roots)),
            (
                HEAD_KEY,
                msgspec.structs.replace(
                    head, height=height, log_root=edge.root(), log_size=edge.size, app_hash=app_hash
                ).encode(),
            ),
        ]
    )
    live = Ledger(store, ledger.registry)
    metadata, chunks = taken(live.view())
    assert len(read_metadata(metadata).log) == 3
    fresh = MemoryStore()
    restore = Restore(fresh, ledger.registry)
    restore.offer(metadata, app_hash)
    for index in sorted(range(len(chunks)), reverse=True):
        restore.apply_chunk(index, chunks[index])
    restore.finish()
    for space in (layout.ENTRIES, layout.LOG, layout.TRANSACTIONS, layout.TREE, layout.INDEXES, layout.ROWS):
        end = bytes((space[0] + 1,))
        assert dict(fresh.scan(space, end)) == dict(store.scan(space, end)), space
    assert taken(Ledger(fresh, ledger.registry).view()) == (metadata, chunks)
    assert decode_head(fresh.get(HEAD_KEY) or b"").log_size == edge.size
