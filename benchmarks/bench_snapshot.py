"""Take and restore a snapshot of a ledger with many rows: times, sizes and rows a second.

    python benchmarks/bench_snapshot.py --rows 1000000 --folder build/bench-snapshot

The rows are written to the store directly, as a block would leave them: accounts of the sample form with one index.
Figures are CPU time of this process (user and system) and wall time.
"""

import argparse
import json
import os
import shutil
import sys
import time
from hashlib import sha256
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from guildbook.chain.head import HEAD_KEY, application_hash
from guildbook.chain.ledger import Ledger
from guildbook.chain.snapshot import Restore, index_entries, take_snapshot
from guildbook.primitives.log_entry import entry_of
from guildbook.primitives.merkle_log import extend, leaf_hash
from guildbook.primitives.state_tree import build_tree
from guildbook.state import layout
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from sample_contract import Account, Units

BATCH = 20_000


class Stopwatch:
    """CPU and wall seconds of the block."""

    def __enter__(self) -> "Stopwatch":
        self._cpu, self._wall = os.times(), time.perf_counter()
        return self

    def __exit__(self, *_exception: object) -> None:
        now = os.times()
        self.user = round(now.user - self._cpu.user, 2)
        self.system = round(now.system - self._cpu.system, 2)
        self.wall = round(time.perf_counter() - self._wall, 2)

    def figures(self) -> dict[str, float]:
        return {"user_s": self.user, "system_s": self.system, "wall_s": self.wall}


def filled(store: RocksStore, rows: int, entries: int) -> Ledger:
    """A ledger whose state has ``rows`` accounts and whose log has ``entries``."""
    test = TestLedger(Units, actors={"mint/till": ["units:issuer"]}, store=store)
    test.actor("mint/till").units.issue(to="first", units=1)
    schema = Units.tables["accounts"].schema
    pairs: list[tuple[bytes, bytes | None]] = []
    for number in range(rows):
        row = Account(id=f"account-{number:09}", holder=f"holder-{number % 997}", units=number)
        key = schema.key_of(row)
        data = schema.encode(row)
        pairs.append((key, data))
        pairs.extend(index_entries(schema, [(key, data)]))
        if len(pairs) >= BATCH:
            store.write(pairs)
            pairs = []
    store.write(pairs)
    root = build_tree(
        ((key[1:], sha256(row).digest()) for key, row in store.scan(layout.ROWS, layout.ROWS_END)),
        lambda batch: store.write((layout.TREE + key, value) for key, value in batch),
    )
    edge, height = test.ledger.state.edge, test.ledger.head.height
    for start in range(0, entries, 4_000):
        height += 1
        block = [
            entry_of(b"receipt", sha256(b"%d" % (start + place)).digest(), height, place, 0)
            for place in range(min(4_000, entries - start))
        ]
        first = edge.size
        edge, tiles = extend(edge, [leaf_hash(one) for one in block])
        store.write(
            [
                *((layout.LOG + key, value) for key, value in tiles.items()),
                (layout.height_key(layout.ENTRIES, first), b"".join(block)),
            ]
        )
    head = msgspec.structs.replace(
        test.ledger.head,
        height=height,
        state_root=root,
        log_root=edge.root(),
        log_size=edge.size,
        app_hash=application_hash(root, edge.root(), edge.size),
    )
    store.write([(HEAD_KEY, head.encode())])
    return Ledger(store, test.registry)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-snapshot"))
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    source = RocksStore(given.folder / "source", durable=False)
    ledger = filled(source, given.rows, given.entries)
    chunks = given.folder / "chunks"
    chunks.mkdir()
    with Stopwatch() as taking:
        metadata = take_snapshot(
            ledger.view(), lambda index, data: (chunks / f"{index:06}").write_bytes(data) and None
        )
    files = sorted(chunks.iterdir())
    target = RocksStore(given.folder / "target")
    restore = Restore(target, ledger.registry)
    with Stopwatch() as restoring:
        restore.offer(metadata, ledger.head.app_hash)
        with Stopwatch() as applying:
            for index, file in enumerate(files):
                restore.apply_chunk(index, file.read_bytes())
        other = restore.finish()
    assert other.head.app_hash == ledger.head.app_hash
    for space in (layout.INDEXES, layout.TREE, layout.LOG, layout.ENTRIES):
        end = bytes((space[0] + 1,))
        assert all(
            left == right
            for left, right in zip(source.scan(space, end), target.scan(space, end), strict=True)
        )
    size = sum(one.stat().st_size for one in files)
    target.close()
    source.close()
    shutil.rmtree(given.folder)
    report = {
        "rows": given.rows,
        "entries": given.entries,
        "chunks": len(files),
        "size_bytes": size,
        "take": taking.figures(),
        "restore": restoring.figures(),
        "restore_chunks": applying.figures(),
    }
    print(json.dumps(report, indent=2))
    if given.output is not None:
        given.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
