"""Checking a store: everything in it follows from the genesis document and the blocks, or it says where it does not.

``check`` reads a store that nobody else has open, and changes nothing in it:

1. *open*: the store opens, and reaches the last change that was acknowledged.
2. *read*: every pair is read twice, in order and by its key, so that every checksum is checked.
3. *blocks*: each block follows the one before it and has the signatures of its validators.
4. *roots*: the state tree and the receipt log have the roots that the head names, and the folder's genesis document
is the store's.
5. *replay*: all blocks run again into a scratch store; its application hashes are those of the headers.
6. *compare*: both stores are walked side by side, and every pair that differs is named.

``--quick`` leaves out the last two, which take as long as the ledger's own work did. A store that has given up old
blocks cannot be replayed; in their place are:

5. *receipts*: what is kept of receipts and row changes fits the log's entries and the rows.
6. *rebuild*: tree, indexes, log and the index of transactions are made anew from rows and entries, and compared.
"""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.access import GENESIS_FILE, installed, store_at_rest
from guildbook.cli.command import Command
from guildbook.cli.terminal import Progress, Terminal
from guildbook.primitives.errors import EXIT_NODE, GuildbookError

if TYPE_CHECKING:
    from guildbook.chain.ledger import View
    from guildbook.chain.replay import Finding
    from guildbook.runtime.registry import Registry
    from guildbook.state.rocks import RocksStore

READ_REPORT_EVERY = 10_000
STOPPED = ("store.locked", "store.missing", "store.full", "store.read_only")
"""Errors that say nothing about the store's content."""


@click.command(
    cls=Command,
    examples=[
        "guildbook check alliance",
        "guildbook check alliance --quick",
        "guildbook check alliance --determinism",
        "guildbook check alliance --json",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--quick", is_flag=True, help="Read everything and check blocks and roots, but do not replay.")
@click.option(
    "--determinism",
    is_flag=True,
    help="Replay in two interpreters with other hash seeds, time zones and locales too, and compare.",
)
@click.pass_obj
def check(terminal: Terminal, folder: Path, quick: bool, determinism: bool) -> int:
    """Check the store of the stopped node in FOLDER down to every byte that matters.

    Verifies blocks, signatures and roots, runs all blocks again into a scratch store (in TMPDIR) and compares every
    pair. Exit status 0: nothing found; 5: damaged, with what and where.
    """
    started = time.monotonic()
    steps: list[dict[str, Any]] = []
    height = None
    first = 0
    try:
        with store_at_rest(folder) as store:
            steps.append(_step("open", []))
            for name, findings in _checks(terminal, folder, store, quick):
                steps.append(_step(name, findings))
                if name == "blocks":
                    height, first = _heights(store)
    except GuildbookError as error:
        if error.code in STOPPED:
            raise
        steps.append(_step("open" if not steps else "read", [_finding("store", error)]))
    found = [one for step in steps for one in step["findings"]]
    if determinism and not found:
        steps.append(_step("determinism", _gathered(_check_determinism(folder), "the runs")))
        found = steps[-1]["findings"]
    seconds = round(time.monotonic() - started, 1)
    terminal.answer(
        {
            "sound": not found,
            "folder": str(folder),
            "height": height,
            "kept_from": first,
            "quick": quick,
            "seconds": seconds,
            "steps": steps,
        },
        [
            *(f"{step['name']}: {'nothing found' if not step['findings'] else 'DAMAGED'}" for step in steps),
            *(f"  {one['where']}: {one['what']}" for one in found),
            f"{folder} is damaged: {len(found)} finding{'s' if len(found) > 1 else ''}. Restore a backup, or rebuild "
            "the store with: guildbook replay FOLDER --output NEW"
            if found
            else f"{folder} is sound at block {height} ({seconds} s)",
            *(
                [f"blocks before {first} are not kept here: what led to the state of then was not run again"]
                if first and not found and not quick
                else []
            ),
        ],
    )
    return EXIT_NODE if found else 0


@click.command(
    cls=Command,
    examples=[
        "guildbook replay alliance",
        "guildbook replay alliance --until 1000",
        "guildbook replay alliance --output rebuilt-store",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--until", type=click.IntRange(1), metavar="HEIGHT", help="The last block to run [default: all]."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Keep the result as a store in this new folder."
)
@click.pass_obj
def replay(terminal: Terminal, folder: Path, until: int | None, output: Path | None) -> int:
    """Run the blocks of the stopped node in FOLDER again, from genesis, and compare application hashes.

    Each block is run under the contract versions of its time. Exit status 0: the same results; 5: they part.
    """
    from guildbook.chain.pruning import require_all
    from guildbook.chain.replay import replay as run_again
    from guildbook.state.rocks import RocksStore

    if output is not None and output.exists():
        raise GuildbookError(
            "store.not_empty", f"{output} exists already", hint="name a new folder", path=str(output)
        )
    with store_at_rest(folder) as store, _scratch(output) as place:
        view, registry = _view(store)
        require_all(view, "a replay")
        last = view.head.height if until is None else min(until, view.head.height)
        scratch = RocksStore(place, durable=output is not None)
        try:
            started = time.monotonic()
            with terminal.progress("replay, blocks") as progress:
                findings = _gathered(
                    run_again(view, scratch, registry, until=until, progress=progress), "the replay"
                )
            seconds = time.monotonic() - started
        finally:
            scratch.close()
        transactions = _transactions(view, last)
        if output is not None and not findings:
            _keep(place, output)
    rate = round(transactions / seconds) if seconds > 0 else 0
    terminal.answer(
        {
            "same": not findings,
            "folder": str(folder),
            "height": last,
            "transactions": transactions,
            "seconds": round(seconds, 3),
            "transactions_per_second": rate,
            "output": str(output) if output is not None and not findings else None,
            "findings": [_shown(one) for one in findings],
        },
        [
            *(f"{one.where}: {one.what}" for one in findings),
            f"{last} blocks with {transactions} transactions ran again in {seconds:.1f} s: {rate} transactions/s",
            "the results part: the store or the software is not what decided these blocks"
            if findings
            else "every application hash is the one that the next header states",
            *([f"the result is in {output}"] if output is not None and not findings else []),
        ],
    )
    return EXIT_NODE if findings else 0


# steps ---------------------------------------------------------------------------------------------------------


def _checks(
    terminal: Terminal, folder: Path, store: "RocksStore", quick: bool
) -> Iterator[tuple[str, list["Finding"]]]:
    """(step, what it found) of each step behind the opening, until one finds something that stops the next."""
    from guildbook.chain.pruning import check_kept, rebuild
    from guildbook.chain.replay import check_chain, compare
    from guildbook.chain.replay import replay as run_again
    from guildbook.state.rocks import RocksStore

    with terminal.progress("read, pairs") as progress:
        damaged = _gathered(_read_everything(store, progress), "the store")
    yield "read", damaged
    if damaged:
        return
    view, registry = _view(store)
    with terminal.progress("check, blocks") as progress:
        yield "blocks", _gathered(check_chain(view, progress), "the blocks")
    yield "roots", _gathered(_check_roots(folder, store, registry), "the roots")
    if quick:
        return
    if view.kept_from:
        with terminal.progress("receipts, blocks") as progress:
            yield "receipts", _gathered(check_kept(view, progress), "the receipts")
        with _scratch(None) as place:
            scratch = RocksStore(place, durable=False)
            try:
                with terminal.progress("rebuild, chunks") as progress:
                    yield "rebuild", _gathered(rebuild(view, scratch, registry, progress), "the state")
            finally:
                scratch.close()
        return
    with _scratch(None) as place:
        scratch = RocksStore(place, durable=False)
        try:
            with terminal.progress("replay, blocks") as progress:
                yield "replay", _gathered(run_again(view, scratch, registry, progress=progress), "the replay")
            yield "compare", _gathered(compare(store, scratch), "the comparison")
        finally:
            scratch.close()


def _read_everything(store: "RocksStore", progress: Progress) -> Iterator["Finding"]:
    """Read every pair in order and by key: data, indexes and filters of all files have checksums, which are checked."""
    from guildbook.chain.replay import Finding

    for number, (key, value) in enumerate(store.scan(b"", None), 1):
        if store.get(key) != value:
            yield Finding(key.hex(), "it is found by its key with another value than in order")
        if number % READ_REPORT_EVERY == 0:
            progress(number, number)


def _check_roots(folder: Path, store: "RocksStore", registry: "Registry") -> Iterator["Finding"]:
    """Open the ledger, which holds tree and log against the head, and compare the folder's genesis document with it."""
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.ledger import Ledger
    from guildbook.chain.replay import Finding

    ledger = Ledger(store, registry)
    document = folder / GENESIS_FILE
    if document.exists() and read_genesis(document.read_bytes()).hash != ledger.genesis.hash:
        yield Finding(GENESIS_FILE, "it is not the document that the store was founded with")


def _check_determinism(folder: Path) -> Iterator["Finding"]:
    """Replay in interpreters that differ in what a contract must not depend on, and name where they part."""
    from guildbook.chain.divergence import as_text
    from guildbook.chain.replay import Finding
    from guildbook.testing.determinism import compare_runs

    parted = compare_runs("guildbook.testing.determinism:replayed", [str(folder.absolute())])
    if parted is not None:
        for line in as_text(parted, "one interpreter", "another"):
            yield Finding(f"block {parted.height}", line)


def _gathered(findings: Iterable["Finding"], where: str) -> list["Finding"]:
    """All findings. An error on the way is one more: content that cannot be read is content that is wrong."""
    from guildbook.chain.replay import FINDINGS_MAX

    found: list[Finding] = []
    try:
        for one in findings:
            found.append(one)
            if len(found) >= FINDINGS_MAX:
                break
    except (click.Abort, OSError):
        raise
    except Exception as error:  # reading forged content can fail in any way
        if isinstance(error, GuildbookError) and error.code in STOPPED:
            raise
        found.append(_finding(where, error))
    return found


def _finding(where: str, error: Exception) -> "Finding":
    from guildbook.chain.replay import Finding

    what = error.message if isinstance(error, GuildbookError) else f"{type(error).__name__}: {error}"
    return Finding(where, what)


def _step(name: str, findings: list["Finding"]) -> dict[str, Any]:
    return {"name": name, "findings": [_shown(one) for one in findings]}


def _shown(finding: "Finding") -> dict[str, str]:
    return {"where": finding.where, "what": finding.what}


# places --------------------------------------------------------------------------------------------------------


def _view(store: "RocksStore") -> tuple["View", "Registry"]:
    """What the store holds, and the contracts that are installed here; the others come from the ledger."""
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.head import GENESIS_KEY
    from guildbook.chain.ledger import View

    registry = installed()
    genesis = read_genesis(store.get(GENESIS_KEY) or b"")
    return View(genesis.network, store, registry), registry


def _heights(store: "RocksStore") -> tuple[int, int]:
    """The last height, and the first of which everything is kept."""
    view, _registry = _view(store)
    return view.head.height, view.kept_from


def _transactions(view: "View", last: int) -> int:
    """How many transactions the blocks up to ``last`` have."""
    return sum(
        len(changes.receipts)
        for height in range(1, last + 1)
        if (changes := view.changes(height)) is not None
    )


@contextmanager
def _scratch(beside: Path | None) -> Iterator[Path]:
    """A place for a store that is gone when the block ends: in TMPDIR, or beside ``beside``, where it may be kept."""
    parent = None
    if beside is not None:
        parent = beside.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="guildbook-", dir=parent))
    try:
        yield folder / "store"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(place: Path, output: Path) -> None:
    """Give the finished store its name."""
    place.rename(output)
