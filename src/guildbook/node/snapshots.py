"""Snapshots as folders: made, listed, served chunk by chunk, verified, and restored to a node's folder.

    snapshots/<height>/metadata       what the chunks are (docs/spec/snapshot.md)
    snapshots/<height>/000000 ...     the chunks
    snapshots/<height>/blocks         block <height> and its commit, and the next header and commit once they are there

Metadata and chunks are the same on every node. ``blocks`` is not a part of the snapshot: it holds the signatures from
which a reader learns that the members agreed on the application hash, and what an engine goes on from. A folder is
made under another name and moved to its place when it is complete.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from guildbook.chain.ledger import Ledger, View
from guildbook.chain.snapshot import (
    METADATA_SIZE_BYTES_MAX,
    SNAPSHOT_FORMAT,
    LastBlock,
    Metadata,
    Progress,
    Restore,
    chunk_writes,
    no_progress,
    read_metadata,
    signed_app_hash,
    snapshot_hash,
    take_snapshot,
)
from guildbook.node.backup import draft_of, move_into_place, write_durably
from guildbook.primitives.canonical import CanonicalError, decode, encode
from guildbook.primitives.cometbft import encode_header
from guildbook.primitives.errors import GuildbookError

METADATA_FILE = "metadata"
BLOCKS_FILE = "blocks"
BLOCKS_SIZE_BYTES_MAX = 256 << 20
_HEIGHT = re.compile(r"[1-9][0-9]{0,18}\Z")

_log = logging.getLogger("guildbook.snapshots")


class SnapshotInfo(NamedTuple):
    """One snapshot as an engine offers it to others. ``hash`` has 32 bytes, ``metadata`` is opaque to the engine."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class Blocks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Protobuf bytes of block H and its commit, and of the header and the commit of H + 1; empty where not there."""

    block: bytes
    commit: bytes
    next_header: bytes
    next_commit: bytes

    @property
    def last(self) -> LastBlock | None:
        """Block H with its commit."""
        return LastBlock(self.block, self.commit) if self.block and self.commit else None


NO_BLOCKS = Blocks(b"", b"", b"", b"")


def blocks_around(view: View, height: int) -> Blocks:
    """What ``view`` has of the blocks ``height`` and ``height + 1``."""
    key_block, commit = view.block_bytes(height), view.commit_bytes(height)
    following, next_commit = view.block(height + 1), view.commit_bytes(height + 1)
    if following is None or next_commit is None:
        return Blocks(key_block or b"", commit or b"", b"", b"")
    return Blocks(key_block or b"", commit or b"", encode_header(following.header), next_commit)


class SnapshotFolder:
    """One snapshot in a folder of its own. Raises GuildbookError ``store.missing`` where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with (path / METADATA_FILE).open("rb") as file:
                self.metadata_bytes = file.read(METADATA_SIZE_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise GuildbookError(
                "store.missing",
                f"{path} holds no snapshot: {METADATA_FILE} is not there",
                hint="name a folder that guildbook snapshot take made",
                path=str(path),
            ) from None
        self.metadata: Metadata = read_metadata(self.metadata_bytes)

    @property
    def info(self) -> SnapshotInfo:
        """The snapshot as it is offered."""
        return SnapshotInfo(
            self.metadata.height,
            SNAPSHOT_FORMAT,
            self.metadata.chunks,
            snapshot_hash(self.metadata_bytes),
            self.metadata_bytes,
        )

    @property
    def size_bytes(self) -> int:
        """The size of all chunks on disk."""
        return sum(one.stat().st_size for one in self.path.iterdir() if one.name.isdigit())

    def chunk(self, index: int) -> bytes:
        """Chunk ``index`` as it is on disk; raises GuildbookError ``snapshot.incomplete`` where it is not."""
        try:
            return (self.path / _chunk_name(index)).read_bytes()
        except FileNotFoundError:
            raise GuildbookError(
                "snapshot.incomplete",
                f"chunk {index} of {self.metadata.chunks} is not in {self.path}",
                hint="take the snapshot again, or copy the folder again",
                chunk=index,
            ) from None

    def blocks(self) -> Blocks:
        """The blocks beside the snapshot; none where they cannot be read, for nothing is believed without them."""
        with contextlib.suppress(OSError, CanonicalError), (self.path / BLOCKS_FILE).open("rb") as file:
            found: Blocks = decode(file.read(BLOCKS_SIZE_BYTES_MAX), Blocks)
            return found
        return NO_BLOCKS

    def signed_app_hash(self, believes: Callable[[bytes, int], bool]) -> bytes:
        """The application hash after the snapshot's height, as validators signed it whom ``believes`` (hash of a set,
        height) accepts. Raises GuildbookError ``snapshot.unproven`` and ``snapshot.wrong_block``.
        """
        blocks = self.blocks()
        return signed_app_hash(self.metadata, blocks.last, blocks.next_header, blocks.next_commit, believes)

    def verify(self, progress: Progress = no_progress) -> None:
        """Check every chunk against the metadata's roots; raises GuildbookError ``snapshot.*``."""
        for index in range(self.metadata.chunks):
            chunk_writes(self.metadata, index, self.chunk(index))
            progress(index + 1, self.metadata.chunks)

    def restore(self, restore: Restore, app_hash: bytes, progress: Progress = no_progress) -> Ledger:
        """Feed the chunks that ``restore`` lacks, and finish. Raises GuildbookError as ``Restore`` does."""
        restore.offer(self.metadata_bytes, app_hash)
        for index in list(restore.missing):
            restore.apply_chunk(index, self.chunk(index))
            progress(self.metadata.chunks - len(restore.missing), self.metadata.chunks)
        return restore.finish(self.blocks().last)


class SnapshotStore:
    """The snapshots of a node, of which the last ``keep`` (1 up) are kept. May be used by several threads."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        assert keep >= 1, keep
        self.path = path
        self._keep = keep
        self._lock = threading.Lock()

    def list(self) -> Sequence[SnapshotInfo]:
        """The snapshots, the latest first; what cannot be read is passed over and noted in the log."""
        found = []
        for height in self.heights():
            try:
                found.append(self.folder(height).info)
            except (GuildbookError, OSError) as error:
                _log.warning("the snapshot of height %d cannot be read: %s", height, error)
        return found

    def heights(self) -> Sequence[int]:
        """The heights of which there is a snapshot, the latest first."""
        if not self.path.is_dir():
            return []
        return sorted((int(one.name) for one in self.path.iterdir() if _HEIGHT.match(one.name)), reverse=True)

    def folder(self, height: int) -> SnapshotFolder:
        """The snapshot of ``height``; raises GuildbookError ``store.missing``."""
        return SnapshotFolder(self.path / str(height))

    def load_chunk(self, height: int, format: int, index: int) -> bytes | None:  # noqa: A002 - the engines' word
        """A chunk of a snapshot that ``list`` has given; None when it is not there any more."""
        if format != SNAPSHOT_FORMAT or index < 0:
            return None
        try:
            return (self.path / str(height) / _chunk_name(index)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def take(self, view: View) -> SnapshotInfo:
        """Make the snapshot of ``view``, unless it is there, and remove those before the last ``keep``.

        Raises GuildbookError ``snapshot.*``, ``store.full`` or ``store.io``.
        """
        with self._lock:
            target = self.path / str(view.head.height)
            if not target.exists():
                write_snapshot(view, target)
            for height in self.heights()[self._keep :]:
                shutil.rmtree(self.path / str(height), ignore_errors=True)
            return SnapshotFolder(target).info

    def add_blocks(self, view: View) -> None:
        """Put beside each snapshot that lacks it the next header that ``view`` has."""
        with self._lock:
            for height in self.heights():
                place = self.path / str(height) / BLOCKS_FILE
                around = blocks_around(view, height)
                if around.next_header and encode(around) != (place.read_bytes() if place.exists() else b""):
                    draft = place.with_name(f".{BLOCKS_FILE}.{secrets.token_hex(4)}")
                    draft.write_bytes(encode(around))
                    os.replace(draft, place)


def write_snapshot(view: View, target: Path) -> SnapshotFolder:
    """Make the snapshot of ``view`` in the new folder ``target``.

    Raises GuildbookError ``store.not_empty``, ``store.full``, ``store.io`` or ``snapshot.*``; then nothing is left.
    """
    if target.exists():
        raise GuildbookError(
            "store.not_empty", f"{target} exists already", hint="name a new folder", path=str(target)
        )
    with draft_of(target) as draft:
        metadata = take_snapshot(view, lambda index, data: write_durably(draft / _chunk_name(index), data))
        write_durably(draft / BLOCKS_FILE, encode(blocks_around(view, view.head.height)))
        write_durably(draft / METADATA_FILE, metadata)
        move_into_place(draft, target)
    return SnapshotFolder(target)


def _chunk_name(index: int) -> str:
    return f"{index:06}"


class Snapshotter:
    """Takes a snapshot at every height that ``interval_blocks`` divides, in a thread of its own.

    ``on_block`` is called in the engine's thread with the view after each block, and returns at once. A snapshot that
    is still being made when the next is due is finished, and the next left out.
    """

    def __init__(self, store: SnapshotStore, interval_blocks: int) -> None:
        assert interval_blocks >= 1, interval_blocks
        self.store = store
        self._every = interval_blocks
        self._wake = threading.Condition()
        self._due: View | None = None
        self._late: View | None = None
        self._last = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Start taking."""
        self._thread.start()

    def wants(self, height: int) -> bool:
        """Whether ``on_block`` has something to do with the view after block ``height``."""
        return height % self._every == 0 or height == self._last + 1

    def on_block(self, view: View) -> None:
        """Note the state after a block."""
        with self._wake:
            if view.head.height % self._every == 0 and self._due is None:
                self._due, self._last = view, view.head.height
            elif view.head.height == self._last + 1:
                self._late = view
            self._wake.notify()

    def stop(self) -> None:
        """Finish what is being made, and stop."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._due is not None or self._late is not None)
                if self._stopping and self._due is None and self._late is None:
                    return
                due, late = self._due, self._late
                self._late = None
            try:
                if due is not None:
                    info = self.store.take(due)
                    _log.info("a snapshot was taken", extra={"height": info.height, "chunks": info.chunks})
                if late is not None:
                    self.store.add_blocks(late)
            except (GuildbookError, OSError) as error:
                _log.error("no snapshot was taken: %s", error)
            finally:
                with self._wake:
                    if due is not None:
                        self._due = None

