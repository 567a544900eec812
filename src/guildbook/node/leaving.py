"""Leaving with everything: a folder that needs no node and no network, and that anybody can check.

    genesis.json           the founding document
    store/                 the ledger: blocks, commits, receipts, rows; `guildbook check FOLDER` runs all of it again
    validator-sets.json    who signed from which height on
    trust.json             the trust anchor of the first set, for `guildbook verify`
    checkpoint             size and root of the receipt log, signed with this node's key where it is at hand
    tile/                  the receipt log for ordinary tools, by C2SP tlog-tiles: hashes and entries
    tables/                every table, history and event as Parquet
    export.json            size and SHA-256 of every file but itself

Secret keys are not in it.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import guildbook
from guildbook.chain.genesis import Genesis, read_genesis
from guildbook.chain.head import GENESIS_KEY
from guildbook.chain.ledger import Ledger, View
from guildbook.client.reader import LedgerReader
from guildbook.evidence.trust import Trust, TrustedSet, format_trust
from guildbook.node.backup import (
    LEFT_OUT,
    BackedUpFile,
    Copied,
    Progress,
    copy_files,
    digest_of,
    draft_of,
    files_at_rest,
    move_into_place,
    write_durably,
)
from guildbook.node.folder import NodeFolder
from guildbook.node.views import all_rows, schema_of_all_releases
from guildbook.primitives.checkpoint import Checkpoint, sign_checkpoint
from guildbook.primitives.cometbft import decode_validator_set
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text
from guildbook.primitives.log_entry import ENTRY_SIZE_BYTES
from guildbook.primitives.merkle_log import TILE_WIDTH_HASHES, read_tile, tile_path, tile_width
from guildbook.runtime.registry import Registry
from guildbook.state import layout
from guildbook.state.rocks import RocksStore
from guildbook.views.database import Views
from guildbook.views.export import export
from guildbook.views.settings import ViewsSettings

EXPORT_FILE = "export.json"
EXPORT_FORMAT = 1


class ExportManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an exported folder holds: the ledger after block ``height``, with all blocks from ``kept_from`` on."""

    format: int
    network: str
    genesis_hash: str
    height: int
    kept_from: int
    app_hash: str
    log_size: int
    log_root: str
    time_ms: int
    software: str
    files: list[BackedUpFile]


def export_all(
    path: Path,
    target: Path,
    registry: Registry,
    key: SigningKey | None = None,
    *,
    progress: Progress,
) -> ExportManifest:
    """Write everything of the node in the folder ``path``, running or stopped, to the new folder ``target``.

    ``key`` signs the checkpoint. Raises GuildbookError ``store.not_empty`` when ``target`` exists, and as a backup.
    """
    if target.exists():
        raise GuildbookError(
            "store.not_empty", f"{target} exists already", hint="name a new folder", path=str(target)
        )
    folder = NodeFolder(path)
    with draft_of(target) as draft:
        with files_at_rest(folder) as store:
            files = [
                Copied(one, f"store/{one.name}") for one in sorted(store.iterdir()) if one.name not in LEFT_OUT
            ]
            copy_files([*files, Copied(folder.genesis, folder.genesis.name)], draft, progress)
        opened = RocksStore(draft / "store", must_exist=True, read_only=True)
        try:
            genesis = read_genesis(opened.get(GENESIS_KEY) or b"")
            ledger = Ledger(opened, registry)
            view = View(genesis.network, opened, registry)
            _write_signers(draft, genesis, view)
            _write_log(draft, view, key)
            _write_tables(draft, LedgerReader(ledger), view)
            head, kept_from = view.head, view.kept_from
        finally:
            opened.close()
            (draft / "store" / "LOCK").unlink(missing_ok=True)
        names = sorted(one.relative_to(draft).as_posix() for one in draft.rglob("*") if one.is_file())
        manifest = ExportManifest(
            EXPORT_FORMAT,
            genesis.network,
            genesis.hash.hex(),
            head.height,
            kept_from,
            head.app_hash.hex(),
            head.log_size,
            head.log_root.hex(),
            time.time_ns() // 1_000_000,
            guildbook.__version__,
            [BackedUpFile(name, (draft / name).stat().st_size, digest_of(draft / name)) for name in names],
        )
        write_durably(draft / EXPORT_FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        move_into_place(draft, target)
    return manifest


def _write_signers(draft: Path, genesis: Genesis, view: View) -> None:
    sets: list[dict[str, Any]] = []
    for place, data in view.reader.scan(layout.VALIDATORS, layout.VALIDATORS + b"\xff" * 9):
        members = decode_validator_set(data)
        sets.append(
            {
                "first_height": int.from_bytes(place[1:], "big"),
                "validators": [
                    {"key": key_text(one.public_key), "power": one.power} for one in members.validators
                ],
            }
        )
    document = {"network": genesis.network, "validator_sets": sets}
    write_durably(
        draft / "validator-sets.json", msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    )
    write_durably(
        draft / "trust.json", format_trust(Trust(genesis.network, (TrustedSet(genesis.validator_set),)))
    )


def _write_log(draft: Path, view: View, key: SigningKey | None) -> None:
    """The log as a static folder that mirrors and witnesses read."""
    size = view.head.log_size
    stated = Checkpoint(f"guildbook/{view.network}", size, view.head.log_root)
    write_durably(
        draft / "checkpoint", stated.text().encode() if key is None else sign_checkpoint(stated, key)
    )
    level = 0
    while tile_width(level, 0, size):
        for index in range(-(-(size >> (8 * level)) // TILE_WIDTH_HASHES)):
            width = tile_width(level, index, size)
            hashes = read_tile(lambda tile: view.reader.get(layout.LOG + tile), level, index, width)
            _write_below(draft / tile_path(level, index, width), hashes)
        level += 1
    length = ENTRY_SIZE_BYTES.to_bytes(2, "big")
    for index in range(-(-size // TILE_WIDTH_HASHES)):
        width = tile_width(0, index, size)
        bundle = b"".join(length + one for one in view.entries(index * TILE_WIDTH_HASHES, width))
        _write_below(draft / tile_path(0, index, width).replace("tile/0/", "tile/entries/", 1), bundle)


def _write_below(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_tables(draft: Path, reader: LedgerReader, view: View) -> None:
    """Every relation as Parquet, from views that are built for it and thrown away."""
    first = view.head.height if view.kept_from else 0
    scratch = draft / ".views"
    scratch.mkdir()
    schema = schema_of_all_releases(reader, view)
    views = Views(scratch / "views.duckdb", view.network, schema, settings=ViewsSettings(first_height=first))
    try:
        views.apply(_changes(view))
        for name, _relation in sorted(views.relations().items()):
            place = draft / "tables" / f"{name}.parquet"
            place.parent.mkdir(exist_ok=True)
            export(views, place, table=name)
    finally:
        views.close()
        for one in scratch.iterdir():
            one.unlink()
        scratch.rmdir()


def _changes(view: View) -> Iterator[bytes]:
    if view.kept_from:
        yield all_rows(view)
        return
    for height in range(view.head.height + 1):
        data = view.changes_bytes(height)
        assert data is not None, height
        yield data
