"""How fast the views follow the chain and answer, and how much memory they take.

    python benchmarks/bench_views.py [--current 1000000] [--history 5000000] [--seconds 30] [--rate 5000]
                                     [--output FILE]

One transfer is three row changes (two lots, one account), one event and one receipt. First the views are built in
their own process from a feed of blocks; then questions are timed; then transfers are handed over at a steady rate, and
the time from the handing over of a block to the moment when the views say that they hold it is taken.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from guildbook.chain.changes import BlockChanges, RowChange, TransactionSummary
from guildbook.chain.receipt import Receipt
from guildbook.cli.bench import Figure, machine, write_figures
from guildbook.views.answer import Limits
from guildbook.views.process import ViewsProcess
from guildbook.views.schema import EventView, Field, TableView, ViewSchema
from guildbook.views.settings import ViewsSettings

GENESIS_MS = 1_767_225_600_000
BLOCK_MS = 200
ACCOUNTS = 100_000
BUILD_CHANGES_PER_BLOCK = 10_000

SCHEMA = ViewSchema(
    tables=(
        TableView("points.accounts", (Field("holder", "text", False, True), Field("programme", "text", False, True),
                                      Field("units", "int", False, False),
                                      Field("changed_at", "timestamp", False, False))),
        TableView("points.lots", (Field("id", "int", False, True), Field("programme", "text", False, False),
                                  Field("holder", "text", False, False), Field("units", "int", False, False),
                                  Field("state", "text", False, False), Field("expires_at", "timestamp", False, False),
                                  Field("evidence", "digest", False, False), Field("note", "text", True, False)))),
    events=(EventView("points.transferred", (Field("lot", "int", False, False), Field("to", "text", False, False),
                                             Field("units", "int", False, False))),))

encode = msgspec.msgpack.encode


def holder(number: int) -> str:
    return f"party-{number * 2_654_435_761 % 1_000_000_007:09d}"


def lot(number: int, version: int) -> bytes:
    return encode([number, f"programme-{number % 8}", holder((number * 7 + version) % ACCOUNTS), 1000 + version,
                   "open" if (number + version) % 5 else "used", GENESIS_MS + number, number.to_bytes(32, "big"), None])


def account(number: int, version: int, now: int) -> bytes:
    return encode([holder(number), f"programme-{number % 8}", version, now])


class Chain:
    """A made-up chain that knows the version of each row, and so makes consistent changes."""

    def __init__(self, current: int) -> None:
        self.current = current
        self.versions = [0] * current
        self.accounts = [0] * ACCOUNTS
        self.height = -1
        self.draws = 1

    def draw(self, bound: int) -> int:
        self.draws = self.draws * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407 & (1 << 64) - 1
        return (self.draws >> 33) % bound

    def lot_change(self, number: int) -> RowChange:
        version = self.versions[number] = self.versions[number] + 1
        return RowChange("points.lots", number.to_bytes(8, "big"), lot(number, version - 1), lot(number, version))

    def next_height(self) -> tuple[int, int]:
        self.height += 1
        return self.height, GENESIS_MS + self.height * BLOCK_MS

    def build(self, history: int) -> Iterator[bytes]:
        """Blocks that insert every lot and account, then change lots until the history is long enough."""
        for start in range(0, self.current, BUILD_CHANGES_PER_BLOCK):
            height, now = self.next_height()
            yield encode(BlockChanges(height, now, [
                RowChange("points.lots", number.to_bytes(8, "big"), None, lot(number, 0))
                for number in range(start, min(start + BUILD_CHANGES_PER_BLOCK, self.current))], [], []))
        height, now = self.next_height()
        yield encode(BlockChanges(height, now, [
            RowChange("points.accounts", number.to_bytes(8, "big"), None, account(number, 0, now))
            for number in range(ACCOUNTS)], [], []))
        done = self.current
        while done < history:
            count = min(BUILD_CHANGES_PER_BLOCK, history - done)
            chosen = {self.draw(self.current) for _ in range(count)}
            height, now = self.next_height()
            yield encode(BlockChanges(height, now, [self.lot_change(number) for number in sorted(chosen)], [], []))
            done += len(chosen)

    def transfers(self, count: int) -> bytes:
        """One block of transfers."""
        height, now = self.next_height()
        rows: dict[bytes, RowChange] = {}
        receipts, summaries = [], []
        for index in range(count):
            first, second, owner = self.draw(self.current), self.draw(self.current), self.draw(ACCOUNTS)
            for number in (first, second):
                key = number.to_bytes(8, "big")
                if key not in rows:
                    rows[key] = self.lot_change(number)
            key = b"A" + owner.to_bytes(8, "big")
            if key not in rows:
                version = self.accounts[owner] = self.accounts[owner] + 1
                rows[key] = RowChange("points.accounts", key, account(owner, version - 1, now),
                                      account(owner, version, now))
            identity = hashlib.sha256(b"%d %d" % (height, index)).digest()
            receipts.append(encode(Receipt(identity, height, index, 0, "", [], [first],
                                           [["points", "transferred", [first, holder(owner), 3]]])))
            summaries.append(TransactionSummary(identity, holder(owner), "bank-1", [["points", "transfer"]]))
        return encode(BlockChanges(height, now, list(rows.values()), receipts, summaries))


def resident_mib(process_id: int) -> dict[str, int]:
    found = {}
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) // 1024
    return found


def cpu_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reset_peak(process_id: int) -> None:
    Path(f"/proc/{process_id}/clear_refs").write_text("5")


def ask(views: ViewsProcess, name: str, sql: str, times: int = 7, **options: object) -> dict[str, float]:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        views.query(sql, limits=Limits(time_ms_max=120_000), **options)  # type: ignore[arg-type]
        taken.append((time.perf_counter() - started) * 1000)
    result = {"median_ms": round(statistics.median(taken), 1), "worst_ms": round(max(taken), 1)}
    print(f"{name:44} {result}", flush=True)
    return result


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--current", type=int, default=1_000_000)
    options.add_argument("--history", type=int, default=5_000_000)
    options.add_argument("--seconds", type=int, default=30)
    options.add_argument("--rate", type=int, default=5_000)
    options.add_argument("--folder", default=None)
    options.add_argument("--output", type=Path, default=None, help="put the figures into this list of figures too")
    given = options.parse_args()
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        "versions": f"python {platform.python_version()}, duckdb {duckdb.__version__}, pyarrow {pa.__version__}"}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        chain = Chain(given.current)
        blocks = chain.build(given.history)
        stored: list[bytes] = []

        def read_changes(_height: int) -> Iterator[bytes]:
            yield from blocks
            yield from stored

        path = Path(folder) / "views.duckdb"
        started = time.perf_counter()
        with ViewsProcess(path, "bench", SCHEMA, read_changes, settings=ViewsSettings()) as views:
            while chain.height < 0 or views.height < chain.height or chain.versions is None:
                time.sleep(0.05)
                if views.status.state == "halted":
                    raise SystemExit(views.status.error)
                if views.height >= 0 and views.height == chain.height:
                    time.sleep(0.5)
                    if views.height == chain.height:
                        break
            process_id = views.status.process_id
            assert process_id is not None
            changes = given.history + ACCOUNTS
            taken = time.perf_counter() - started
            figures["build"] = {"row_changes": changes, "seconds": round(taken, 1),
                                "us_per_change_with_making_them": round(taken / changes * 1e6, 2),
                                "us_cpu_of_views_per_change": round(cpu_seconds(process_id) / changes * 1e6, 2),
                                "file_mib": path.stat().st_size // 2**20, **resident_mib(process_id)}
            print(json.dumps(figures["build"]), flush=True)
            reset_peak(process_id)

            def timed() -> dict[str, object]:
                middle = chain.height // 2
                return {
                    "group by over the history": ask(
                        views, "group by over the history", "SELECT date_trunc('minute', _time) AS minute, programme, "
                        "count(*), sum(units) FROM points.lots_history GROUP BY ALL ORDER BY ALL"),
                    "group by over current rows": ask(
                        views, "group by over current rows",
                        "SELECT programme, state, count(*), sum(units) FROM points.lots GROUP BY ALL ORDER BY ALL"),
                    "one current row by its key": ask(
                        views, "one current row by its key", "SELECT * FROM points.lots WHERE id = 4711"),
                    "group by as of half the chain": ask(
                        views, "group by as of half the chain",
                        "SELECT programme, state, count(*), sum(units) FROM points.lots GROUP BY ALL ORDER BY ALL",
                        times=3, at=middle),
                    "no table at all": ask(views, "no table at all", "SELECT 1"),
                    **resident_mib(process_id)}

            figures["at rest"] = timed()
            lag: list[float] = []
            arrived: dict[int, float] = {}
            lock = threading.Lock()

            def follow(last: int, first: int) -> None:
                for height in range(first, last + 1):
                    views.wait_for(height, 60_000)
                    now = time.perf_counter()
                    with lock:
                        lag.append(now - arrived[height])

            per_block = given.rate * BLOCK_MS // 1000
            count = given.seconds * 1000 // BLOCK_MS
            first = chain.height + 1
            follower = threading.Thread(target=follow, args=(first + count - 1, first))
            before = cpu_seconds(process_id)
            started = time.perf_counter()
            late = 0.0
            for number in range(count):
                block = chain.transfers(per_block)
                due = started + number * BLOCK_MS / 1000
                now = time.perf_counter()
                late = max(late, now - due)
                time.sleep(max(due - now, 0))
                stored.append(block)
                with lock:
                    arrived[chain.height] = time.perf_counter()
                views.apply([block])
                if number == 0:
                    follower.start()
            follower.join()
            taken = time.perf_counter() - started
            spent = cpu_seconds(process_id) - before
            lag.sort()
            figures["following"] = {
                "transfers_per_second": given.rate, "block_ms": BLOCK_MS, "seconds": given.seconds,
                "lag_ms_median": round(statistics.median(lag) * 1000),
                "lag_ms_99": round(lag[len(lag) * 99 // 100] * 1000),
                "lag_ms_worst": round(lag[-1] * 1000), "blocks_late_ms_worst": round(late * 1000),
                "cpu_share_of_a_core": round(spent / taken, 2),
                "us_cpu_per_transfer": round(spent / (per_block * count) * 1e6, 1), **resident_mib(process_id)}
            print(json.dumps(figures["following"]), flush=True)
            figures["after following"] = timed()
            figures["file_mib"] = path.stat().st_size // 2**20
        started = time.perf_counter()
        with ViewsProcess(path, "bench", SCHEMA, lambda _height: iter(()), settings=ViewsSettings()) as views:
            views.wait_for(chain.height, 60_000)
            figures["open_ms"] = round((time.perf_counter() - started) * 1000)
    print(json.dumps(figures, indent=1))
    if given.output is not None:
        write_figures(given.output, named(figures, given.current, given.history))


def named(figures: dict[str, Any], current: int, history: int) -> list[Figure]:
    """The figures that are tracked, each with its conditions."""
    told = f"{history:,} rows of history, {current:,} current, views in their own process; {machine()}"
    following = figures["following"]
    return [
        Figure("group_by_5m_rows_s", figures["at rest"]["group by over the history"]["median_ms"] / 1000, "s",
               f"count and sum by minute and programme over the history table, median of 7, answer read whole; {told}"),
        Figure("views_follow_lag_ms", following["lag_ms_worst"], "ms",
               f"greatest lag at {following['transfers_per_second']} transfers a second for {following['seconds']} s; "
               f"{told}"),
        Figure("views_follow_us", following["us_cpu_per_transfer"], "us/transaction", told),
    ]


if __name__ == "__main__":
    main()
