"""A reader of a store sees one moment, by key and in order, whatever is written afterwards and in whatever thread."""

import threading
from pathlib import Path

import pytest

from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import KeyValueStore, MemoryStore
from guildbook.state.rocks import RocksStore


@pytest.fixture(params=["memory", "rocks"])
def store(request, tmp_path: Path):
    made: KeyValueStore = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "store")
    yield made
    made.close()


def key(number: int) -> bytes:
    return b"k%05d" % number


def test_a_snapshot_does_not_change_under_later_writes(store):
    store.write([(key(number), b"before") for number in range(3_000)])
    snapshot = store.snapshot()
    store.write([(key(number), None if number % 2 else b"after") for number in range(0, 3_000, 3)])
    store.write([(key(number), b"new") for number in range(3_000, 3_100)])
    expected = [(key(number), b"before") for number in range(3_000)]
    assert list(snapshot.scan(b"", None)) == expected
    assert list(snapshot.scan(b"", None, reverse=True)) == expected[::-1]
    assert list(snapshot.scan(key(7), key(1_900))) == expected[7:1_900]
    assert list(snapshot.scan(key(7), key(1_900), reverse=True)) == expected[7:1_900][::-1]
    assert snapshot.page(key(2_999), None, 10) == expected[2_999:]
    assert [snapshot.get(one) for one, _value in expected] == [b"before"] * 3_000
    assert snapshot.get(key(3_000)) is None


def test_scans_of_one_snapshot_may_run_side_by_side(store):
    store.write([(key(number), b"%d" % number) for number in range(4_000)])
    snapshot = store.snapshot()
    store.write([(key(number), None) for number in range(4_000)])
    forward, backward = snapshot.scan(b"", None), snapshot.scan(b"", None, reverse=True)
    for number in range(4_000):
        assert next(forward) == (key(number), b"%d" % number)
        assert next(backward)[0] == key(3_999 - number)
    assert next(forward, None) is None


def test_a_snapshot_may_be_read_in_many_threads_while_the_store_is_written(store):
    store.write([(key(number), b"%d" % number) for number in range(2_000)])
    snapshot = store.snapshot()
    found: list[bool] = []

    def read(first: int) -> None:
        for _ in range(5):
            pairs = list(snapshot.scan(key(first), key(first + 300)))
            found.append(pairs == [(key(number), b"%d" % number) for number in range(first, first + 300)])

    threads = [threading.Thread(target=read, args=(number * 250,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for number in range(40):
        store.write([(key(one), b"%d later" % number) for one in range(0, 2_000, 7)])
    for thread in threads:
        thread.join()
    assert found == [True] * 30


def test_a_snapshot_of_a_closed_store_says_so(tmp_path):
    store = RocksStore(tmp_path / "store")
    store.write([(b"a", b"1")])
    snapshot = store.snapshot()
    store.close()
    with pytest.raises(GuildbookError, match=r"store\.io.*closed"):
        list(snapshot.scan(b"", None))
