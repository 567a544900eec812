"""Snapshots on the command line: take one, look at it, verify it, and make a node from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.access import installed, node_folder
from guildbook.cli.command import Command, Group
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError

if TYPE_CHECKING:
    from guildbook.chain.genesis import Genesis
    from guildbook.chain.ledger import View
    from guildbook.node.snapshots import SnapshotFolder

HASH_DIGITS = 64


@click.group(cls=Group)
def snapshot() -> None:
    """The state after a block, in chunks that are verified one by one: what a new member begins with."""


@snapshot.command(
    cls=Command,
    examples=["guildbook snapshot take alliance", "guildbook snapshot take alliance --output /media/state"],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The new folder to write [default: snapshots/HEIGHT in FOLDER].",
)
@click.pass_obj
def take(terminal: Terminal, folder: Path, output: Path | None) -> None:
    """Take a snapshot of the last block of the node in FOLDER, running or stopped.

    It is the same on every node of the network at that height.
    """
    from guildbook.node import NodeFolder
    from guildbook.node.snapshots import write_snapshot

    with view_of_node(folder) as view:
        target = NodeFolder(folder).snapshots / str(view.head.height) if output is None else output
        made = write_snapshot(view, target)
    terminal.answer(
        _described(made),
        [
            f"took the snapshot of {made.metadata.network} as of block {made.metadata.height} to {target}",
            f"{made.metadata.chunks} chunks, {made.size_bytes} bytes; hash {made.info.hash.hex()}",
            f"application hash {made.metadata.app_hash.hex()}",
        ],
    )


@snapshot.command("list", cls=Command, examples=["guildbook snapshot list alliance"])
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.pass_obj
def list_snapshots(terminal: Terminal, folder: Path) -> None:
    """List the snapshots that the node in FOLDER has for members that join."""
    from guildbook.node import NodeFolder
    from guildbook.node.snapshots import SnapshotStore

    store = SnapshotStore(NodeFolder(node_folder(folder)).snapshots)
    found = [store.folder(one.height) for one in store.list()]
    terminal.answer(
        {"snapshots": [_described(one) for one in found]},
        [
            f"block {one.metadata.height}: {one.metadata.chunks} chunks, {one.size_bytes} bytes, "
            f"hash {one.info.hash.hex()}"
            for one in found
        ]
        or [f"{folder} has no snapshots; take one with: guildbook snapshot take {folder}"],
    )


_trust = click.option(
    "--trust",
    "trust_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The network's trust anchor [default: the validators of the genesis document].",
)
_genesis = click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The genesis document that the members agreed on, from a source of its own.",
)
_app_hash = click.option(
    "--app-hash",
    metavar="HEX",
    help="The application hash after the snapshot's block, from a source of its own, instead of signatures.",
)


@snapshot.command(
    cls=Command,
    examples=[
        "guildbook snapshot verify alliance/snapshots/1200 --genesis genesis.json",
        "guildbook snapshot verify /media/state --trust trust.json --json",
    ],
)
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_genesis
@_trust
@_app_hash
@click.pass_obj
def verify(
    terminal: Terminal,
    source: Path,
    genesis_file: Path | None,
    trust_file: Path | None,
    app_hash: str | None,
) -> None:
    """Verify the snapshot in the folder SOURCE: that members signed its application hash, and every chunk.

    Nothing is written. Exit status 0: it is the state that was signed; 6: it is not, or nothing signed says so.
    """
    from guildbook.node.snapshots import SnapshotFolder

    found = SnapshotFolder(source)
    genesis = None if genesis_file is None else _read_genesis(genesis_file)
    if genesis is None and trust_file is None and app_hash is None:
        raise click.UsageError("give --genesis, --trust or --app-hash: what the snapshot is held against")
    _require_network(found, genesis)
    _trusted_hash(found, genesis, trust_file, app_hash)
    with terminal.progress("verify, chunks") as progress:
        found.verify(progress)
    terminal.answer(
        {"verified": True, **_described(found)},
        [
            f"VERIFIED: the state of {found.metadata.network} after block {found.metadata.height}",
            f"{found.metadata.chunks} chunks, {found.size_bytes} bytes; "
            f"application hash {found.metadata.app_hash.hex()}",
        ],
    )


@snapshot.command(
    cls=Command,
    examples=[
        "guildbook snapshot restore /media/state alliance --genesis genesis.json",
        "guildbook snapshot restore /media/state alliance --trust trust.json",
    ],
)
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("folder", type=click.Path(path_type=Path))
@_genesis
@_trust
@_app_hash
@click.pass_obj
def restore(
    terminal: Terminal,
    source: Path,
    folder: Path,
    genesis_file: Path | None,
    trust_file: Path | None,
    app_hash: str | None,
) -> None:
    """Make the ledger of the node in FOLDER from the snapshot in SOURCE, every chunk verified before it is written.

    FOLDER is new, or is a node's that has no block yet; then its genesis document is the one that counts. A restore
    that was cut off goes on when the same is run again.
    """
    from guildbook.chain.snapshot import Restore
    from guildbook.node import NodeFolder
    from guildbook.node.snapshots import SnapshotFolder
    from guildbook.state.rocks import RocksStore

    found, node = SnapshotFolder(source), NodeFolder(folder)
    own = node.genesis if node.genesis.exists() else genesis_file
    if own is None:
        raise click.UsageError("give --genesis with the document that the members agreed on")
    genesis = _read_genesis(own)
    if genesis_file is not None and _read_genesis(genesis_file).hash != genesis.hash:
        raise GuildbookError(
            "genesis.mismatch",
            f"{genesis_file} is not the genesis document in {folder}",
            hint="restore to a new folder, or leave the option out",
        )
    _require_network(found, genesis)
    trusted = _trusted_hash(found, genesis, trust_file, app_hash)
    _prepare(folder, genesis)
    store = RocksStore(node.store)
    try:
        with terminal.progress("restore, chunks") as progress:
            ledger = found.restore(Restore(store, installed(), genesis.hash), trusted, progress)
    finally:
        store.close()
    head = ledger.head
    keys = node.validator_key.exists()
    terminal.answer(
        {"folder": str(folder), **_described(found)},
        [
            f"restored {genesis.network} as of block {head.height} to {folder}",
            f"application hash {head.app_hash.hex()}, state root {head.state_root.hex()}",
            "receipts and blocks up to there are with the members that keep the whole history",
            *([] if keys else [f"next: put the node's secret keys into {node.keys} (mode 600)"]),
            f"guildbook run {folder}",
        ],
    )


# parts -----------------------------------------------------------------------------------------------------------


@contextmanager
def view_of_node(folder: Path) -> Iterator["View"]:
    """What the node in ``folder``, running or stopped, holds at this moment, for the time of the block."""
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.head import GENESIS_KEY
    from guildbook.chain.ledger import View
    from guildbook.node.backup import files_at_rest
    from guildbook.node.folder import NodeFolder, running_node
    from guildbook.state.rocks import RocksStore

    node = NodeFolder(node_folder(folder))
    if running_node(node.path) is None:
        store = RocksStore(node.store, must_exist=True, read_only=True)
        try:
            yield View(read_genesis(store.get(GENESIS_KEY) or b"").network, store, installed())
        finally:
            store.close()
        return
    with files_at_rest(node) as links:
        store = RocksStore(links, must_exist=True, read_only=True)
        try:
            yield View(read_genesis(store.get(GENESIS_KEY) or b"").network, store, installed())
        finally:
            store.close()


def _read_genesis(path: Path) -> "Genesis":
    from guildbook.chain.genesis import GENESIS_SIZE_BYTES_MAX, read_genesis

    with path.open("rb") as file:
        return read_genesis(file.read(GENESIS_SIZE_BYTES_MAX + 1))


def _require_network(found: "SnapshotFolder", genesis: "Genesis | None") -> None:
    if genesis is not None and genesis.hash != found.metadata.genesis_hash:
        raise GuildbookError(
            "snapshot.wrong_network",
            f"the snapshot is of {found.metadata.network} with genesis {found.metadata.genesis_hash.hex()}, and the "
            f"document has the hash {genesis.hash.hex()}",
            hint="take a snapshot from a member of this network",
        )


def _trusted_hash(
    found: "SnapshotFolder", genesis: "Genesis | None", trust_file: Path | None, app_hash: str | None
) -> bytes:
    """The application hash that the snapshot must have, which it is found to have."""
    if app_hash is not None:
        if len(app_hash) != HASH_DIGITS or set(app_hash) - set("0123456789abcdef"):
            raise click.UsageError(f"{app_hash[:80]!r} is not a hash of {HASH_DIGITS} hexadecimal digits")
        trusted = bytes.fromhex(app_hash)
    else:
        trusted = found.signed_app_hash(_belief(found, genesis, trust_file))
    if trusted != found.metadata.app_hash:
        raise GuildbookError(
            "snapshot.wrong_app_hash",
            f"the snapshot's roots make {found.metadata.app_hash.hex()}, and the trusted hash is {trusted.hex()}",
            hint="take it from another member",
            height=found.metadata.height,
        )
    return trusted


def _belief(
    found: "SnapshotFolder", genesis: "Genesis | None", trust_file: Path | None
) -> Callable[[bytes, int], bool]:
    """Whose signatures count: those of the trust anchor, or else those of the genesis document."""
    from guildbook.evidence.trust import TRUST_SIZE_BYTES_MAX, Trust, TrustedSet, parse_trust

    if trust_file is not None:
        with trust_file.open("rb") as file:
            trust = parse_trust(file.read(TRUST_SIZE_BYTES_MAX + 1))
    elif genesis is not None:
        trust = Trust(genesis.network, (TrustedSet(genesis.validator_set),))
    else:
        raise click.UsageError("give --genesis or --trust: whose signatures count")
    if trust.network != found.metadata.network:
        raise GuildbookError(
            "snapshot.wrong_network",
            f"the snapshot is of network {found.metadata.network}, and the trust anchor is of {trust.network}",
            hint="use the trust anchor of the snapshot's network",
        )
    return trust.believes


def _prepare(folder: Path, genesis: "Genesis") -> None:
    """Make what a node's folder has beside its store, where it is not there."""
    from guildbook.node.config import default_config_text
    from guildbook.node.folder import FOLDER_MODE, NodeFolder

    node = NodeFolder(folder)
    if not node.genesis.exists():
        if folder.exists() and any(folder.iterdir()):
            raise GuildbookError(
                "store.not_empty", f"{folder} holds something already", hint="name a new folder", path=str(folder)
            )
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        node.genesis.write_bytes(genesis.to_json())
    if not node.config.exists():
        node.config.write_text(default_config_text(), "utf-8")
    node.keys.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _described(found: "SnapshotFolder") -> dict[str, Any]:
    return {
        "snapshot": str(found.path),
        "network": found.metadata.network,
        "height": found.metadata.height,
        "format": found.info.format,
        "chunks": found.metadata.chunks,
        "size_bytes": found.size_bytes,
        "hash": found.info.hash.hex(),
        "app_hash": found.metadata.app_hash.hex(),
    }
