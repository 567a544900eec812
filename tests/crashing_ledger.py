"""A ledger on disk that is written under load, killed at any moment, and held to its word afterwards.

Run as a program it writes until it is killed: ``crashing_ledger.py FOLDER FIRST SEED``. Transaction number n is the
same bytes in every run, so whoever reads what was left behind can hand in the same ones again. For each answer with a
receipt it writes the number to its standard output, in one write, after the answer came: what is read there was
acknowledged.
"""

import contextlib
import gc
import os
import random
import sys
import threading
from pathlib import Path

from guildbook.chain.ledger import Ledger, View
from guildbook.chain.receipt import Location, Outcome, decode_receipt
from guildbook.chain.replay import check_chain, compare, replay
from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.engine.solo import SoloEngine, SoloSettings
from guildbook.foundation import FOUNDATION
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.registry import Registry
from guildbook.state.kv import MemoryStore
from guildbook.state.rocks import RocksStore
from guildbook.testing import TestLedger
from guildbook.testing.ledger import test_key as key_of
from sample_contract import Units

NETWORK = "test-net"
CLIENTS = 3
BATCH_MAX = 12
AHEAD_MAX = 2 * CLIENTS * BATCH_MAX
"""How far beyond the last acknowledged number a writer may have got."""
SETTINGS = SoloSettings(gather_ms=1, proof_delay_ms=3, signature_workers=0)


def found(folder: Path) -> None:
    """Found a ledger in ``folder``."""
    store = RocksStore(folder)
    TestLedger(Units, actors={"mill/anna": ["units:issuer"]}, store=store, check_invariants=False)
    store.close()


def registry() -> Registry:
    """The contracts that the ledger was founded with."""
    made = Registry()
    for contract in (*FOUNDATION, Units):
        made.install(contract)
    return made


def envelope(number: int) -> bytes:
    """Transaction ``number``: it issues ``number`` + 1 units to an account; every seventh is refused."""
    call = ("units", "issue", [f"account-{number % 50}", number + 1])
    if number % 7 == 3:
        call = ("units", "move", ["nobody", "x", number + 1])
    return build_transaction(NETWORK, key_of("mill/anna"), 1_000_000, number.to_bytes(16, "big"), [call])


def opened(folder: Path) -> Ledger:
    """The ledger in ``folder``."""
    store = RocksStore(folder, must_exist=True)
    try:
        return Ledger(store, registry())
    except BaseException:
        store.close()
        raise


def running(ledger: Ledger) -> SoloEngine:
    """An engine on ``ledger``, started. The crash point comes from the environment."""
    engine = SoloEngine(ledger, key_of("validator"), SETTINGS)
    engine.start()
    return engine


def write(folder: Path, first: int, seed: int) -> None:
    """Submit transactions from number ``first`` in several threads, and acknowledge each; ends when the engine does."""
    engine = running(opened(folder))
    numbers = iter(range(first, 1 << 62))
    drawing = threading.Lock()

    def client(own: int) -> None:
        rng = random.Random(seed * 100 + own)
        while engine.failure is None:
            with drawing:
                mine = [next(numbers) for _ in range(rng.randrange(1, BATCH_MAX + 1))]
            try:
                answers = engine.submit([envelope(number) for number in mine]).result(30)
            except GuildbookError:
                return
            text = "".join(f"{n}\n" for n, one in zip(mine, answers, strict=True) if one.receipt is not None)
            os.write(1, text.encode())

    threads = [threading.Thread(target=client, args=(own,)) for own in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failure = engine.failure
    engine.stop()
    with contextlib.suppress(Exception):  # a store that has failed may fail again
        engine.ledger.close()
    code = failure.code if isinstance(failure, GuildbookError) else repr(failure)
    os.write(1, f"failed {code}\n".encode())


def check(folder: Path, acknowledged: set[int], tried: int) -> int:
    """Hold the ledger in ``folder`` to its word; ``acknowledged`` are numbers, ``tried`` is one more than the last.

    Then hand in everything that was tried: all of it is in the ledger once, and the books balance. Returns one more
    than the last number that is in the ledger now.
    """
    ledger = opened(folder)
    view = None
    try:
        view = ledger.view()
        assert list(check_chain(view)) == []
        scratch = MemoryStore()
        assert list(replay(view, scratch, registry())) == []
        assert list(compare(view.reader, scratch)) == []
        found_ids = ids_of(view)
        assert len(found_ids) == len(set(found_ids)), "a transaction is in the ledger twice"
        number_of = {decode_transaction(envelope(n)).id: n for n in range(tried + AHEAD_MAX)}
        there = {number_of[one] for one in found_ids}
        assert acknowledged <= there, f"acknowledged and lost: {sorted(acknowledged - there)[:10]}"
        tried = max([tried, *(number + 1 for number in there)])
        engine = running(ledger)
        try:
            envelopes = [envelope(number) for number in range(tried)]
            answers = engine.submit(envelopes).result(60) if envelopes else []
            again = engine.submit(envelopes[:50]).result(60)
        finally:
            engine.stop()
        assert all(one.receipt is not None for one in answers), "a transaction was not taken again"
        assert again == answers[:50]
        after = ids_of(ledger.view())
        assert len(after) == len(set(after)) == tried
        query = ledger.view().execution().query("units", "total", [])
        assert query == sum(number + 1 for number in range(tried) if number % 7 != 3)
        return tried
    finally:
        ledger.close()
        del view
        gc.collect()  # what still reads a moment of the store keeps it open


def ids_of(view: View) -> list[bytes]:
    """The ids of all transactions that were applied or rejected, in the order of the log."""
    found_ids: list[bytes] = []
    for height in range(1, view.head.height + 1):
        changes = view.changes(height)
        assert changes is not None
        for data in changes.receipts:
            receipt = decode_receipt(data)
            assert receipt.outcome != Outcome.INVALID, receipt
            assert view.location(receipt.transaction) == Location(height, receipt.index, len(found_ids))
            found_ids.append(receipt.transaction)
    return found_ids


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
