"""What the log and the state tree cost, measured: time, bytes written, memory, proof sizes.

    python benchmarks/bench_trees.py                                   1 M keys; several minutes
    python benchmarks/bench_trees.py --keys 100000 --parts log memory  what RocksDB has no part in

Prints tables in Markdown with the conditions above them. Computing is measured in processor time of the one thread
that does it, so that other work on the machine disturbs it less; commits and building in elapsed time. Of each
measurement the median of its rounds is shown, and the best one behind it. Everything is seeded, so two runs do the
same work.
"""

import argparse
import os
import platform
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from statistics import median

from guildbook.primitives.canonical import encode
from guildbook.primitives.merkle_log import LogEdge, LogReader, extend, load_edge, verify_inclusion
from guildbook.primitives.state_tree import (
    CACHE_NODES_MAX_DEFAULT,
    StateTree,
    TreeReader,
    TreeUpdate,
    verify_absence,
    verify_presence,
    verify_range,
)
from guildbook.state.rocks import RocksStore

SEED = 20260101
SPACE = b"T"
KEYS_PER_LOAD = 50_000
PARTS = ("log", "memory", "disk")
Write = Callable[[dict[bytes, bytes | None]], None]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def conditions() -> str:
    load = os.getloadavg()[0]
    hash_us = best_us(lambda: sha256(b"x" * 65).digest(), 20_000)
    long_us = best_us(lambda: sha256(b"x" * 540).digest(), 20_000)
    return (
        f"{processor()}, {os.cpu_count()} cores, load {load:.1f}; CPython {platform.python_version()}, "
        f"{ssl.OPENSSL_VERSION}; SHA-256 of 65 bytes {hash_us:.2f} µs, of 540 bytes {long_us:.2f} µs; seed {SEED}"
    )


def best_us(work: Callable[[], object], times: int) -> float:
    rounds = []
    for _ in range(5):
        start = time.thread_time()
        for _ in range(times):
            work()
        rounds.append(time.thread_time() - start)
    return min(rounds) / times * 1e6


def shown(rounds: list[float]) -> str:
    return f"{median(rounds):.1f} ({min(rounds):.1f})"


# The log


def bench_log(size: int) -> None:
    leaves = [sha256(number.to_bytes(8, "big")).digest() for number in range(20_000)]
    tiles: dict[bytes, bytes] = {}
    edge = LogEdge()
    while edge.size < size:
        edge, writes = extend(edge, leaves[: min(len(leaves), size - edge.size)])
        tiles.update(writes)
    print(f"\n### Log of {size:,} leaves\n")
    print("| leaves appended at once | µs a leaf, median (best) | tiles written | bytes written |")
    print("|---:|---:|---:|---:|")
    for batch in (1, 10, 100, 1_000, 10_000):
        rounds = []
        for number in range(40):
            portion = leaves[number : number + batch]
            start = time.thread_time()
            longer, writes = extend(edge, portion)
            longer.root()
            rounds.append((time.thread_time() - start) / batch * 1e6)
        print(f"| {batch:,} | {shown(rounds)} | {len(writes)} | {sum(map(len, writes.values())):,} |")
    reader = LogReader(tiles.get, size)
    root = edge.root()
    indexes = random.Random(SEED).sample(range(size), 200)
    proofs = {index: reader.inclusion_proof(index) for index in indexes}
    some = indexes[0]
    prove = best_us(lambda: [reader.inclusion_proof(index) for index in indexes], 1) / len(indexes)
    leaf = reader.leaf_hash_at(some)
    verify = best_us(lambda: verify_inclusion(leaf, some, size, proofs[some], root), 1_000)
    print(
        f"\nInclusion proof: {len(proofs[some])} hashes, made in {prove:.0f} µs, verified in {verify:.0f} µs. ",
        end="",
    )
    print(f"Opening the edge: {best_us(lambda: load_edge(tiles.get, size), 20):.0f} µs.")


# The state tree


def sequential(number: int) -> bytes:
    """Rows of a table with an integer primary key, as they come: 20 bytes."""
    return b"points.lots\0" + (number + 2**63).to_bytes(8, "big")


def scattered(number: int) -> bytes:
    """Rows of a table with a random primary key: 25 bytes."""
    return b"x.y\0\0" + sha256(number.to_bytes(8, "big")).digest()[:20]


KINDS = {"sequential": sequential, "random": scattered}


def digest_of(key: bytes) -> bytes:
    return sha256(key).digest()


def apply(
    tree: StateTree, write: Write, changes: dict[bytes, bytes | None]
) -> tuple[TreeUpdate, float, float]:
    began = time.thread_time()
    update = tree.update(changes)
    computing = time.thread_time() - began
    began = time.perf_counter()
    write(update.writes)
    tree.commit(update)
    return update, computing, time.perf_counter() - began


def batches(
    kind: Callable[[int], bytes], keys: int, size: int, rounds: int
) -> Iterator[dict[bytes, bytes | None]]:
    source = random.Random(SEED)
    for _ in range(rounds):
        yield {kind(number): source.randbytes(32) for number in source.sample(range(keys), size)}


def inserts(
    kind: Callable[[int], bytes], keys: int, size: int, rounds: int
) -> Iterator[dict[bytes, bytes | None]]:
    for number in range(rounds):
        first = keys + number * size
        yield {kind(at): digest_of(kind(at)) for at in range(first, first + size)}


def load(tree: StateTree, write: Write, kind: Callable[[int], bytes], keys: int) -> float:
    began = time.perf_counter()
    for first in range(0, keys, KEYS_PER_LOAD):
        numbers = range(first, min(keys, first + KEYS_PER_LOAD))
        apply(tree, write, {kind(at): digest_of(kind(at)) for at in numbers})
    return time.perf_counter() - began


def bench_updates(tree: StateTree, write: Write, kind: Callable[[int], bytes], keys: int) -> None:
    print(
        "| changes | µs a key, median (best) | keys a second | commit, µs a key | branches a key | bytes a key |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name, source, size, rounds in (
        ("update 1", batches, 1, 200),
        ("update 100", batches, 100, 60),
        ("update 1,000", batches, 1_000, 30),
        ("update 10,000", batches, 10_000, 8),
        ("insert 1,000", inserts, 1_000, 12),
        ("delete 1,000", batches, 1_000, 12),
    ):
        computing, committing, branches, written = [], [], 0, 0
        for changes in source(kind, keys, size, rounds):
            update, compute, commit = apply(
                tree, write, dict.fromkeys(changes) if "delete" in name else changes
            )
            computing.append(compute / size * 1e6)
            committing.append(commit / size * 1e6)
            branches += len(update.writes)
            written += sum(len(key) + len(value or b"") for key, value in update.writes.items())
        per_key = rounds * size
        print(
            f"| {name} | {shown(computing)} | {1e6 / median(computing):,.0f} | {median(committing):.1f} "
            f"| {branches / per_key:.2f} | {written / per_key:,.0f} |"
        )


def bench_proofs(read: Callable[[bytes], bytes | None], kind: Callable[[int], bytes], keys: int) -> None:
    reader = TreeReader(read, digest_of)
    root = reader.root()
    source = random.Random(SEED)
    present = [kind(number) for number in source.sample(range(keys), 200)]
    absent = [key[:-1] + bytes((key[-1] ^ 0x80,)) for key in present]
    absent = [key for key in absent if key not in {kind(number) for number in range(keys)}] or [
        kind(keys + 77)
    ]
    ordered = sorted(kind(number) for number in range(keys))
    first = keys // 3
    start, end, inside = ordered[first], ordered[first + 1_000], ordered[first : first + 1_000]
    entries = [(key, digest_of(key)) for key in inside]
    print("\n| proof | bytes, median (most) | make, µs | verify, µs |")
    print("|---|---:|---:|---:|")
    for name, some in (("presence", present), ("absence", absent)):
        proofs = [reader.prove(key) for key in some]
        sizes = [len(encode(proof)) for proof in proofs]
        make = best_us(lambda: [reader.prove(key) for key in some], 1) / len(some)  # noqa: B023 (used at once)
        began = time.thread_time()
        for key, proof in zip(some, proofs, strict=True):
            if name == "presence":
                verify_presence(root, key, digest_of(key), proof)
            else:
                verify_absence(root, key, proof)
        check = (time.thread_time() - began) / len(some) * 1e6
        print(f"| {name} | {median(sizes):,.0f} ({max(sizes):,}) | {make:,.0f} | {check:,.0f} |")
    proof = reader.prove_range(start, end)
    make = best_us(lambda: reader.prove_range(start, end), 20)
    check = best_us(lambda: verify_range(root, start, end, entries, proof), 3)
    size = len(encode(proof))
    print(f"| range of 1,000 rows | {size:,} ({size:,}) | {make:,.0f} | {check:,.0f} |")


def bench_tree_in_memory(name: str, keys: int) -> None:
    kind = KINDS[name]
    store: dict[bytes, bytes] = {}

    def write(writes: dict[bytes, bytes | None]) -> None:
        for key, value in writes.items():
            if value is None:
                del store[key]
            else:
                store[key] = value

    tree = StateTree(store.get, cache_nodes_max=2 * keys)
    spent = load(tree, write, kind, keys)
    stored = sum(len(key) + len(value) for key, value in store.items())
    objects = sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in store.items())
    print(
        f"\n### State tree, {keys:,} {name} keys of {len(kind(0))} bytes, store and all branches in memory\n"
    )
    print(
        f"Built in batches of {KEYS_PER_LOAD:,} in {spent:.1f} s. {len(store) - 1:,} branches, {stored / 1e6:.0f} MB "
        f"stored ({stored / keys:.0f} bytes a key); kept in memory {objects / len(store):.0f} bytes a branch without "
        f"the dictionary's own, {objects / 2**20:.0f} MiB for all.\n"
    )
    bench_proofs(store.get, kind, keys)
    print()
    bench_updates(tree, write, kind, keys)


def bench_tree_on_disk(name: str, keys: int, folder: Path) -> None:
    kind = KINDS[name]
    store = RocksStore(folder / name)

    def read(key: bytes) -> bytes | None:
        return store.get(SPACE + key)

    def write(writes: dict[bytes, bytes | None]) -> None:
        store.write([(SPACE + key, value) for key, value in writes.items()])

    spent = load(StateTree(read), write, kind, keys)
    print(f"\n### State tree, {keys:,} {name} keys in RocksDB, {CACHE_NODES_MAX_DEFAULT:,} branches cached\n")
    tree = StateTree(read)
    print(f"Built in {spent:.1f} s, durable commits included. The cache is empty before the first line.\n")
    bench_updates(tree, write, kind, keys)
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--keys", type=int, default=1_000_000, help="keys in the tree, leaves in the log (>= 20,000)"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    options = parser.parse_args()
    print(conditions(), flush=True)
    if "log" in options.parts:
        bench_log(options.keys)
    if "memory" in options.parts:
        for name in KINDS:
            bench_tree_in_memory(name, options.keys)
    if "disk" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            for name in KINDS:
                bench_tree_on_disk(name, options.keys, Path(folder))


if __name__ == "__main__":
    main()
