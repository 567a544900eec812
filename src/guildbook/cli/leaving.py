"""Giving up old blocks, and leaving with everything."""

import os
from pathlib import Path

import click

from guildbook.cli.access import STOP_FIRST, installed, node_folder, told_who_runs
from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError


@click.command(
    cls=Command,
    examples=["guildbook prune alliance --keep 100000", "guildbook prune alliance --keep 100000 --json"],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--keep",
    required=True,
    type=click.IntRange(2),
    metavar="BLOCKS",
    help="How many of the last blocks are kept with their receipts and row changes.",
)
@click.pass_obj
def prune(terminal: Terminal, folder: Path, keep: int) -> None:
    """Give up old blocks of the stopped node in FOLDER, with their receipts and row changes.

    Rows, proofs of rows, the log with its entries and the knowledge of every transaction stay. Make sure that at
    least two members keep everything: what all give up nobody can replay. A running node does the same by its
    setting store.retain_blocks.
    """
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.head import GENESIS_KEY
    from guildbook.chain.ledger import View
    from guildbook.chain.pruning import prune as give_up
    from guildbook.node.folder import NodeFolder
    from guildbook.state.rocks import RocksStore

    with told_who_runs(node_folder(folder), STOP_FIRST):
        store = RocksStore(NodeFolder(folder).store, must_exist=True)
    try:
        view = View(read_genesis(store.get(GENESIS_KEY) or b"").network, store, installed())
        before = view.kept_from
        with terminal.progress("prune, blocks") as progress:
            first = give_up(store, view, keep, progress)
        store.compact()
    finally:
        store.close()
    terminal.answer(
        {"folder": str(folder), "height": view.head.height, "kept_from": first, "given_up": first - before},
        [
            f"{folder} keeps its blocks from {first} on, {first - before} were given up"
            if first > before
            else f"{folder} has no more than {keep} blocks; nothing was given up",
        ],
    )


@click.command(
    cls=Command,
    examples=[
        "guildbook export-all alliance /media/alliance-2026",
        "guildbook export-all alliance /media/alliance-2026 --json",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_obj
def export_all(terminal: Terminal, folder: Path, target: Path) -> None:
    """Write everything that the node in FOLDER, running or stopped, has to the new folder TARGET.

    Blocks, receipts, rows, who signed, the log as static tiles, every table as Parquet: what a leaving member takes
    along. It needs no node, and `guildbook check TARGET` verifies all of it. Secret keys are not in it.
    """
    from guildbook.client.keyfile import read_key
    from guildbook.node.folder import NodeFolder
    from guildbook.node.leaving import export_all as export
    from guildbook.node.node import PASSPHRASE_VARIABLE

    place = NodeFolder(node_folder(folder)).validator_key
    try:
        key = read_key(place, os.environ.get(PASSPHRASE_VARIABLE)) if place.exists() else None
    except GuildbookError as error:
        terminal.note(f"the checkpoint is not signed: {error.message}")
        key = None
    with terminal.progress("export, bytes") as progress:
        manifest = export(folder, target, installed(), key, progress=progress)
    size = sum(one.size_bytes for one in manifest.files)
    terminal.answer(
        {
            "folder": str(target),
            "network": manifest.network,
            "height": manifest.height,
            "kept_from": manifest.kept_from,
            "app_hash": manifest.app_hash,
            "log_size": manifest.log_size,
            "files": len(manifest.files),
            "size_bytes": size,
            "signed": key is not None,
        },
        [
            f"wrote everything of {manifest.network} as of block {manifest.height} to {target}",
            f"{len(manifest.files)} files, {size} bytes; application hash {manifest.app_hash}",
            *([f"blocks before {manifest.kept_from} are not kept here"] if manifest.kept_from else []),
            f"verify it with: guildbook check {target}",
        ],
    )
