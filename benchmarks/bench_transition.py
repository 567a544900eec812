"""What the sequencer's thread spends on a transfer, stage by stage, measured without the rest of a node.

    python benchmarks/bench_transition.py                           100,000 accounts, two minutes
    python benchmarks/bench_transition.py --accounts 340000         a million rows
    python benchmarks/bench_transition.py --world build/world       keep the world, and take it again the next time
    python benchmarks/bench_transition.py --profile build/cut.prof  the same under cProfile: where, not how long

The world of ``guildbook bench`` (points transfers between random members, each signed by one of 500 wallets) is made in
this process, in a store on disk. Then blocks of transfers that were signed beforehand are run, built and committed as
the engine does it. Signatures are not checked, since a node does that in another process.

Times are processor time of the one thread, so that other work on the machine disturbs them little. Everything is
seeded: two runs on one world do the same work and print the same roots, unless a format has changed. Each line is a
stretch of blocks, since the first transfers find fewer of their rows at hand than later ones.
"""

import argparse
import cProfile
import gc
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from guildbook.chain import transition
from guildbook.chain.block import build_block, sign_commit
from guildbook.chain.bundle import encode_bundle
from guildbook.chain.ledger import Ledger
from guildbook.chain.receipt import Outcome, decode_receipt
from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.chain.transition import BlockInput
from guildbook.cli import bench
from guildbook.cli.bench import Scale
from guildbook.client.keyfile import read_key
from guildbook.foundation import FOUNDATION
from guildbook.node.applications import load_applications
from guildbook.node.folder import NodeFolder
from guildbook.node.node import COLLECT_AFTER_OBJECTS
from guildbook.primitives.cometbft import Commit, encode_commit
from guildbook.primitives.keys import SigningKey
from guildbook.runtime.arguments import bind
from guildbook.runtime.identity import Identities
from guildbook.runtime.registry import Registry
from guildbook.state import layout
from guildbook.state.overlay import Overlay
from guildbook.state.rocks import RocksStore

STAGES = ("decode", "sort out", "execute", "finish", "build", "commit")
"""``decode`` happens in another thread of a node, under the same lock of the interpreter; it is not part of the sum."""
START_TIME_MS = 1_767_225_600_000
BLOCK_INTERVAL_NS = 500_000_000
STRETCHES = 4


class Sequencer:
    """One ledger, and the time that each stage of its blocks has taken, in seconds of this thread."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        registry = Registry()
        for contract in (*FOUNDATION, *load_applications([bench.APPLICATION])):
            registry.install(contract)
        self.ledger = Ledger(RocksStore(NodeFolder(folder).store, must_exist=True, durable=durable), registry)
        self._key = read_key(NodeFolder(folder).validator_key, None)
        self._last: Commit | None = None
        self.spent: dict[str, float] = {}

    def cut(self, envelopes: list[bytes]) -> list[bytes]:
        """Run and commit one block; returns its receipts."""
        ledger, head = self.ledger, self.ledger.head
        validators = ledger.genesis.validator_set
        marks = [time.thread_time()]
        transactions = [decode_transaction(one) for one in envelopes]
        marks.append(time.thread_time())
        stored = ledger.store.get_many([layout.TRANSACTIONS + one.id for one in transactions])
        assert not any(stored)
        identities = Identities(Overlay(ledger.state.reader, ledger.state.cache), 0)
        for one in transactions:
            identities.sender(one.body.key)
        marks.append(time.thread_time())
        bundles = (encode_bundle(envelopes),)
        time_ns = head.time_ns + BLOCK_INTERVAL_NS
        finished: list[float] = []
        with noted(finished):
            result = ledger.apply(
                BlockInput(head.height + 1, time_ns, bundles), dict(zip(envelopes, transactions, strict=True))
            )
        marks.append(finished[0])
        marks.append(time.thread_time())
        network = ledger.genesis.network
        block = build_block(network, head, self._last, validators, validators.validators[0], time_ns, bundles)
        commit = sign_commit(network, result.height, block.id, time_ns, self._key, validators.validators[0])
        marks.append(time.thread_time())
        ledger.commit(
            result,
            block.id,
            block.header.app_hash,
            [
                (layout.height_key(layout.BLOCKS, result.height), block.data),
                (layout.height_key(layout.COMMITS, result.height), encode_commit(commit)),
            ],
        )
        marks.append(time.thread_time())
        for receipt in result.receipts:
            assert decode_receipt(receipt).outcome == Outcome.APPLIED, decode_receipt(receipt)
        self._last = commit
        self.spent = {name: marks[place + 1] - marks[place] for place, name in enumerate(STAGES)}
        return result.receipts


@contextmanager
def noted(began: list[float]) -> Iterator[None]:
    """While this is open, ``finish_block`` notes when it begins."""
    plain = transition.finish_block

    def finish_block(*arguments: Any) -> Any:
        began.append(time.thread_time())
        return plain(*arguments)

    transition.finish_block = finish_block
    try:
        yield
    finally:
        transition.finish_block = plain


def made_world(folder: Path, scale: Scale) -> None:
    """Found the world of ``guildbook bench`` in ``folder``, and give each member its lot."""
    began = time.perf_counter()
    bench.found_world(folder, scale, START_TIME_MS)
    sequencer = Sequencer(folder, durable=False)
    source = random.Random(2)
    commands = load_applications([bench.APPLICATION])[0].commands

    def run(key: SigningKey, command: str, **arguments: Any) -> list[Any]:
        call = (bench.APPLICATION, command, bind(commands[command], (), arguments))
        nonce = source.randbytes(16)
        envelope = build_transaction(bench.NETWORK, key, bench.VALID_UNTIL, nonce, [call])
        return decode_receipt(sequencer.cut([envelope])[0]).results

    officer, programme, issuer = bench.officer_key(), bench.PROGRAMME, bench.ISSUER
    run(officer, "register_programme", programme=programme, issuer=issuer, supervisor=issuer, unit="BENCH")
    run(officer, "publish_profile", **bench.profile_terms(START_TIME_MS))
    quota = {"programme": programme, "units": 10**12}
    proposal = run(officer, "propose_quota", reason="bench", **quota)[0]
    run(bench.approver_key(), "approve_quota", proposal=proposal, **quota)
    for body in bench.setup_batches(scale):
        sequencer.cut(msgspec.msgpack.decode(body))
    sequencer.ledger.close()
    print(f"{scale.accounts:,} accounts made in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def blocks(scale: Scale, count: int, size: int) -> Iterator[list[bytes]]:
    """``count`` blocks of ``size`` signed transfers."""
    source = random.Random(3)
    for _ in range(count):
        yield [bench.transfer(source, scale) for _ in range(size)]


def line(name: str, cells: list[str]) -> str:
    """A row of the table."""
    return f"| {name:>19} | " + " | ".join(f"{cell:>8}" for cell in cells) + " |"


def measure(folder: Path, scale: Scale, options: argparse.Namespace) -> None:
    """Run the blocks on the world in ``folder`` and print what each stage took."""
    gc.set_threshold(*COLLECT_AFTER_OBJECTS)
    sequencer = Sequencer(folder, durable=True)
    profile = cProfile.Profile() if options.profile else None
    print(line("transfers", [*STAGES, "all"]))
    print(line("---:", ["---:"] * (len(STAGES) + 1)))
    rounds: list[dict[str, float]] = []
    for number, envelopes in enumerate(blocks(scale, options.blocks, options.block)):
        if profile is not None:
            profile.enable()
        sequencer.cut(envelopes)
        if profile is not None:
            profile.disable()
        rounds.append({name: spent / len(envelopes) * 1e6 for name, spent in sequencer.spent.items()})
        if (number + 1) % max(1, options.blocks // STRETCHES) == 0:
            values = [median([one[name] for one in rounds]) for name in STAGES]
            first = (number + 1 - len(rounds)) * options.block
            cells = [f"{value:.1f}" for value in [*values, sum(values[1:])]]
            print(line(f"{first:,} to {(number + 1) * options.block:,}", cells), flush=True)
            rounds = []
    head = sequencer.ledger.head
    print(f"log root {head.log_root.hex()[:16]}, state root {head.state_root.hex()[:16]}")
    sequencer.ledger.close()
    if profile is not None:
        profile.dump_stats(options.profile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=Scale().accounts, help="members; each has three rows")
    parser.add_argument("--blocks", type=int, default=40, help="blocks to measure")
    parser.add_argument("--block", type=int, default=2_000, help="transfers in a block")
    parser.add_argument("--world", type=Path, help="folder of a world, made when it is not there and never changed")
    parser.add_argument("--profile", type=Path, help="file for the statistics of cProfile")
    options = parser.parse_args()
    scale = Scale(options.accounts)
    with tempfile.TemporaryDirectory(prefix="guildbook-bench-") as folder:
        world = options.world or Path(folder) / "world"
        if not world.exists():
            made_world(world, scale)
        shutil.copytree(world, Path(folder) / "node")
        print(bench.machine())
        print(f"{options.accounts:,} accounts, blocks of {options.block:,}; microseconds a transfer\n")
        measure(Path(folder) / "node", scale, options)


if __name__ == "__main__":
    main()
