"""Backups of a node, and nodes from backups."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.access import node_folder
from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal

if TYPE_CHECKING:
    from guildbook.node.backup import Manifest


@click.command(
    cls=Command,
    examples=[
        "guildbook backup alliance /backups/alliance-2026-11-23",
        "guildbook backup alliance /backups/alliance-2026-11-23 --with-keys",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with-keys", is_flag=True, help="Copy the secret keys too; keep such a backup as you keep the keys."
)
@click.pass_obj
def backup(terminal: Terminal, folder: Path, target: Path, with_keys: bool) -> None:
    """Back up the node in FOLDER, running or stopped, to the new folder TARGET.

    The copy is the ledger as of one block, with a manifest of every file's SHA-256.
    """
    from guildbook.node.backup import backup as back_up

    node_folder(folder)
    with terminal.progress("backup, bytes") as progress:
        manifest = back_up(folder, target, with_keys=with_keys, progress=progress)
    keys = "The secret keys are in it." if with_keys else "The secret keys are not in it: keep keys/ apart."
    terminal.answer(
        _described(manifest, target),
        [
            f"backed up {manifest.network} as of block {manifest.height} to {target}",
            f"{len(manifest.files)} files, {manifest.size_bytes} bytes; application hash {manifest.app_hash}",
            f"SHA-256 of the manifest: {_manifest_digest(manifest)}",
            keys,
        ],
    )


@click.command(
    cls=Command,
    examples=[
        "guildbook restore /backups/alliance-2026-11-23 alliance",
        "guildbook restore /backups/alliance-2026-11-23 alliance --json",
    ],
)
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def restore(terminal: Terminal, source: Path, folder: Path) -> None:
    """Make the new node FOLDER from the backup in SOURCE, after every file was held against the manifest.

    Make sure that the old node never runs again: two nodes with one validator key sign two histories.
    """
    from guildbook.node.backup import restore as bring_back

    with terminal.progress("restore, bytes") as progress:
        manifest = bring_back(source, folder, progress=progress)
    has_keys = any(one.path.startswith("keys/") for one in manifest.files)
    terminal.answer(
        _described(manifest, folder),
        [
            f"restored {manifest.network} as of block {manifest.height} to {folder}",
            f"{len(manifest.files)} files hold against the manifest; application hash {manifest.app_hash}",
            "next:",
            *([] if has_keys else [f"  put the node's secret keys into {folder / 'keys'} (mode 600)"]),
            f"  guildbook check {folder}",
            f"  guildbook run {folder}",
        ],
    )


def _described(manifest: "Manifest", folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "network": manifest.network,
        "height": manifest.height,
        "app_hash": manifest.app_hash,
        "files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "manifest_sha256": _manifest_digest(manifest),
    }


def _manifest_digest(manifest: "Manifest") -> str:
    return hashlib.sha256(manifest.to_json()).hexdigest()
