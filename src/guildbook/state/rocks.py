"""The store on disk: RocksDB behind the ordered key-value interface.

Law. One ``write`` is one write-ahead-log record, synced before it returns: after a crash the store holds either
all of a block or nothing of it. RocksDB checks a checksum on every block it reads, so a flipped byte is an error,
never a wrong answer. One process owns a store folder; a second one is told so.

There are two places where damage would not be an error but a shorter history. RocksDB takes a record at the end of
its log or of its list of files that has a wrong length for one that a crash cut off, and leaves it out. A record that
a crash cut off was never acknowledged, so two small guards tell the cases apart: the file ``LAST-WRITE`` holds the
number of the last change that was acknowledged, and a store that ends before it has lost something; and a list of
files (``MANIFEST``) must end where its last entry ends. Both are looked at before the store is opened for writing,
because that would throw away what the damage hides.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DataBlockIndexType,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.state.kv import LatestReader, Pairs, Reader

COLUMN_FAMILY = "default"
BLOCK_CACHE_SIZE_BYTES = 16 << 20
"""For blocks of rows, and for the parts of indexes and filters that are in use: none of them is ever held whole."""
WRITE_BUFFER_SIZE_BYTES = 16 << 20
WRITE_BUFFER_FILTER_SHARE = 0.1
"""How much of a write buffer is a filter over its keys, so that older rows are not looked for in it."""
OPEN_FILES_MAX = 256
INDEX_PART_SIZE_BYTES = 65_536
HASH_INDEX_FILL = 0.75
"""Within a block of rows a key is found by its hash; so full is that table."""
BLOB_SIZE_BYTES_MIN = 4096
BLOOM_BITS_PER_KEY = 10
LAST_WRITE_FILE = "LAST-WRITE"
LAST_WRITE_DIGITS = 20
SCAN_PAIRS_FIRST = 32
"""Pairs that a scan of a snapshot reads at first; most want a few."""
SCAN_PAIRS_MAX = 1_024
LOG_BLOCK_SIZE_BYTES = 32_768
"""RocksDB's record files are divided into blocks of this size, and no frame crosses their borders."""
LOG_HEAD_SIZE_BYTES = 7
"""Checksum (4 bytes), length (2 bytes, little endian) and type of a frame in such a file."""
LOG_FRAME_TYPES = (b"\1", b"\2", b"\3", b"\4")
"""A whole record, or the first, a middle or the last part of one."""


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_write_buffer_size(WRITE_BUFFER_SIZE_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_FILTER_SHARE)
    options.set_memtable_whole_key_filtering(True)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_enable_blob_files(True)
    options.set_min_blob_size(BLOB_SIZE_BYTES_MIN)
    options.set_enable_blob_gc(True)
    options.set_keep_log_file_num(4)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_SIZE_BYTES))
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    # In a large file an index or a filter in one piece is larger than what the cache takes, and would be read from
    # the disk for every row: so they are in parts, and only the lists of the parts stay in memory.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(INDEX_PART_SIZE_BYTES)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_pin_top_level_index_and_filter(True)
    table.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    table.set_data_block_hash_ratio(HASH_INDEX_FILL)
    options.set_block_based_table_factory(table)
    return options


def _locked(path: Path) -> GuildbookError:
    return GuildbookError(
        "store.locked",
        f"another process uses the store {path}",
        hint="stop the other node, or give this one its own folder",
        path=str(path),
    )


def _translated(error: Exception, path: Path) -> GuildbookError:
    """The operational error for what RocksDB reports, told apart by the fixed words of its status."""
    text = str(error)
    low = text.lower()
    if "lock file" in low or "lock hold" in low or "while lock" in low:
        return _locked(path)
    if "no space left" in low or "disk quota" in low or "file too large" in low:
        return GuildbookError(
            "store.full",
            f"no space is left for the store {path}; nothing of this block was kept",
            hint="free space on the disk, then start the node again",
            path=str(path),
        )
    if "read-only file system" in low or "permission denied" in low:
        return GuildbookError(
            "store.read_only",
            f"the store {path} is where nothing can be written, and RocksDB writes even to read",
            hint="copy the folder to a place that can be written, and use the copy",
            path=str(path),
        )
    if "corruption" in low or "checksum" in low or "bad table magic" in low or "truncated" in low:
        return GuildbookError(
            "store.corrupt",
            f"the store {path} is damaged: {text}",
            hint="restore a backup, or rebuild from another member's blocks",
            path=str(path),
        )
    return GuildbookError(
        "store.io",
        f"the store {path} failed: {text}",
        hint="check the disk and the folder's permissions",
        path=str(path),
    )


def _damaged(path: Path, what: str, hint: str) -> GuildbookError:
    return GuildbookError("store.corrupt", f"the store {path} is damaged: {what}", hint=hint, path=str(path))


class _LastWrite:
    """The file that holds the number of the last acknowledged change, as decimal digits and a short hash of them.

    It is overwritten in place and not synced, and a failure to write it is passed over: it may be behind the store,
    never before it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LAST_WRITE_FILE
        self._descriptor: int | None = None

    @staticmethod
    def _text(number: int) -> bytes:
        digits = b"%0*d" % (LAST_WRITE_DIGITS, number)
        return digits + b" " + tagged("last-write", digits).hex()[:16].encode() + b"\n"

    def read(self) -> int | None:
        """The number, None when there is no file. Raises GuildbookError ``store.corrupt``."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        digits = text[:LAST_WRITE_DIGITS]
        if not digits.isdigit() or text != self._text(int(digits)):
            raise _damaged(
                self._path.parent,
                f"{LAST_WRITE_FILE} holds {text[:64]!r}",
                f"run guildbook check; when it finds nothing else, delete {self._path}",
            )
        return int(digits)

    def note(self, number: int) -> None:
        """Everything up to ``number`` is durable."""
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.pwrite(self._descriptor, self._text(number), 0)
                os.fsync(self._descriptor)
            else:
                os.pwrite(self._descriptor, self._text(number), 0)

    def close(self) -> None:
        """Release the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _first_fault(path: Path) -> str | None:
    """What is wrong with the frames of a record file of RocksDB, None when they follow one another to its end.

    RocksDB itself checks what is in the frames. It does not see a frame that reaches behind the end of the file, and
    it never returns from a frame of a type that this store does not use.
    """
    place, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while place < size:
            left = LOG_BLOCK_SIZE_BYTES - place % LOG_BLOCK_SIZE_BYTES
            if left < LOG_HEAD_SIZE_BYTES:
                place += left
                continue
            file.seek(place)
            head = file.read(LOG_HEAD_SIZE_BYTES)
            if any(head) and head[6:] not in LOG_FRAME_TYPES:
                return f"has an entry of unknown type at byte {place}"
            place += LOG_HEAD_SIZE_BYTES + int.from_bytes(head[4:6], "little")
    return "ends inside an entry" if place > size else None


def _require_whole_list(path: Path) -> None:
    """Raise GuildbookError ``store.corrupt`` unless the store's list of files can be followed to its end."""
    try:
        name = (path / "CURRENT").read_text("ascii").strip()
        fault = _first_fault(path / name)
    except (OSError, ValueError):
        return  # RocksDB itself says what is wrong with CURRENT
    if fault is not None:
        raise _damaged(
            path,
            f"its list of files {name} {fault}",
            "restore a backup, or rebuild it with: guildbook replay FOLDER --output NEW",
        )


_open_here: set[Path] = set()
"""The stores that this process has open. A process must not touch the lock of a store that it holds itself: closing
any descriptor of a file releases all locks of the process on it (POSIX, fcntl)."""


def _lock(path: Path) -> int | None:
    """Take RocksDB's own lock on a store; None in a folder that cannot be written, where nobody else writes either."""
    try:
        descriptor = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise _locked(path) from None
    return descriptor


class _RocksReader:
    """Reads over a database or one of its snapshots."""

    def __init__(
        self, source: Any, path: Path
    ) -> None:  # a database or a snapshot: the wrapper has no common type
        self._source = source
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        try:
            value: bytes | None = self._source.get(key)
        except Exception as error:  # rocksdict raises plain Exception with RocksDB's status text
            raise _translated(error, self._path) from error
        return value

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """See Reader."""
        try:
            values: list[bytes | None] = self._source.get(keys)
        except Exception as error:  # see get
            raise _translated(error, self._path) from error
        return values

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Reader."""
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        cursor = self._source.iter(options)
        if reverse:
            cursor.seek_to_last()
        else:
            cursor.seek(start)
        step = cursor.prev if reverse else cursor.next
        while cursor.valid():
            key = cursor.key()
            if key < start:  # the wrapper keeps one bound only; the lower one is ours to hold in reverse
                break
            yield key, cursor.value()
            step()
        try:
            cursor.status()
        except Exception as error:  # see get
            raise _translated(error, self._path) from error

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        return list(islice(self.scan(start, end, reverse=reverse), pairs_max))


class _CursorReader(_RocksReader):
    """A reader of the moment at which its one iterator was opened."""

    def __init__(self, source: Any, path: Path, cursor: Any) -> None:  # see _RocksReader
        super().__init__(source, path)
        self._cursor = cursor

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        cursor = self._cursor
        found: list[tuple[bytes, bytes]] = []
        if reverse:
            if end is None:
                cursor.seek_to_last()
            else:
                cursor.seek_for_prev(end)
                if cursor.valid() and cursor.key() == end:
                    cursor.prev()
            while len(found) < pairs_max and cursor.valid():
                key = cursor.key()
                if key < start:
                    return found
                found.append((key, cursor.value()))
                cursor.prev()
        else:
            cursor.seek(start)
            while len(found) < pairs_max and cursor.valid():
                key = cursor.key()
                if end is not None and key >= end:
                    return found
                found.append((key, cursor.value()))
                cursor.next()
        if not cursor.valid():
            try:
                cursor.status()
            except Exception as error:  # see get
                raise _translated(error, self._path) from error
        return found


class _LatestReader(_CursorReader):
    """A reader that keeps one iterator: opening one costs more than a short read."""

    def __init__(self, source: Rdict, path: Path) -> None:
        super().__init__(source, path, source.iter())

    def refresh(self) -> None:
        """See LatestReader."""
        self._cursor = self._source.iter()

    def release(self) -> None:
        """Let go of the store, which cannot close while an iterator is open."""
        self._cursor = None


class _SnapshotReader(_CursorReader):
    """A snapshot, for any threads: its ``get`` is by subscript.

    An iterator that a snapshot of the wrapper gives does not keep to the snapshot, but goes over the store as it is
    then. One that the store gives keeps to the moment at which it was opened; so one is opened with the snapshot, and
    all scans share it, page by page.
    """

    def __init__(self, source: Any, path: Path, cursor: Any) -> None:  # see _RocksReader
        super().__init__(source, path, cursor)
        self._turn = threading.Lock()

    def release(self) -> None:
        """Let go of the store, which cannot close while a snapshot is open."""
        with self._turn:
            self._source = self._cursor = None

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Reader."""
        pairs_max = SCAN_PAIRS_FIRST
        while pairs := self.page(start, end, pairs_max, reverse=reverse):
            yield from pairs
            if len(pairs) < pairs_max:
                return
            if reverse:
                end = pairs[-1][0]
            else:
                start = pairs[-1][0] + b"\0"
            pairs_max = SCAN_PAIRS_MAX

    def page(
        self, start: bytes, end: bytes | None, pairs_max: int, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """See Reader."""
        with self._turn:
            if self._cursor is None:
                raise GuildbookError(
                    "store.io", f"the store {self._path} is closed", hint="open it again", path=str(self._path)
                )
            return super().page(start, end, pairs_max, reverse=reverse)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """See Reader."""
        return [self.get(key) for key in keys]

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        try:
            value: bytes = self._source[key]
        except Exception as error:  # see _RocksReader.get; an absent key is an exception too
            if str(error) == "key not found":
                return None
            raise _translated(error, self._path) from error
        return value


class RocksStore(_RocksReader):
    """A KeyValueStore in a folder of its own.

    ``path`` is created unless ``must_exist``. With ``read_only`` nothing in the folder changes, and no other process
    may open it meanwhile. Without ``durable`` writes are not synced: for scratch stores only. Raises GuildbookError
    ``store.locked``, ``store.missing``, ``store.corrupt``, ``store.full`` or ``store.io``.
    """

    def __init__(
        self, path: Path, *, must_exist: bool = False, read_only: bool = False, durable: bool = True
    ) -> None:
        if must_exist and not (path / "CURRENT").exists():
            raise GuildbookError(
                "store.missing",
                f"there is no store in {path}",
                hint="create one with: guildbook init",
                path=str(path),
            )
        self._closed = True
        self._lock: int | None = None
        self._last_write = _LastWrite(path)
        self._place = path.resolve()
        if self._place in _open_here:
            raise _locked(path)
        _open_here.add(self._place)
        try:
            self._lock = _lock(path) if (path / "CURRENT").exists() else None
            last = self._last_write.read()
            _require_whole_list(path)
            if not read_only:
                if last is not None and any(one.stat().st_size for one in path.glob("*.log")):
                    self._opened(path, AccessType.read_only(False), last).close()
                self._unlock()
            access = AccessType.read_only(False) if read_only else AccessType.read_write()
            super().__init__(self._opened(path, access, last), path)
        except BaseException:
            self._release()
            raise
        self._closed = False
        self._write_options = WriteOptions()
        self._write_options.sync = durable
        self._durable = durable
        self._latest: list[_LatestReader] = []
        self._snapshots: weakref.WeakSet[_SnapshotReader] = weakref.WeakSet()

    @staticmethod
    def _opened(path: Path, access: AccessType, last: int | None) -> Rdict:
        """The database, which reaches the acknowledged change ``last``."""
        try:
            options = _options()
            families = {COLUMN_FAMILY: options}  # without them, a store that exists is opened with its earlier options
            database = Rdict(str(path), options=options, column_families=families, access_type=access)
        except Exception as error:  # see _RocksReader.get
            raise _translated(error, path) from error
        number = database.latest_sequence_number()
        if last is not None and number < last:
            database.close()
            raise _damaged(
                path,
                f"it ends at change {number}, and change {last} was acknowledged",
                "restore a backup, or fetch the lost blocks from another member",
            )
        return database

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _release(self) -> None:
        self._last_write.close()
        self._unlock()
        _open_here.discard(self._place)

    def write(self, pairs: Pairs) -> None:
        """See KeyValueStore."""
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in pairs:
            if value is None:
                delete(key)
            else:
                put(key, value)
        try:
            self._source.write(batch, write_opt=self._write_options)
        except Exception as error:  # see _RocksReader.get
            raise _translated(error, self._path) from error
        if self._durable:
            self._last_write.note(self._source.latest_sequence_number())

    def compact(self) -> None:
        """Give the room of what was deleted back to the volume. Takes as long as a copy of the store."""
        try:
            self._source.compact_range(None, None)
        except Exception as error:  # see _RocksReader.get
            raise _translated(error, self._path) from error

    def snapshot(self) -> Reader:
        """See KeyValueStore."""
        while True:
            number = self._source.latest_sequence_number()
            snapshot, cursor = self._source.snapshot(), self._source.iter()
            if self._source.latest_sequence_number() == number:  # both are of one moment
                break
        reader = _SnapshotReader(snapshot, self._path, cursor)
        self._snapshots.add(reader)
        return reader

    def latest(self) -> LatestReader:
        """See KeyValueStore."""
        reader = _LatestReader(self._source, self._path)
        self._latest.append(reader)
        return reader

    def checkpoint(self, path: Path) -> None:
        """See KeyValueStore; files are hard links where the file system allows, so the copy costs little space."""
        if path.exists():
            raise GuildbookError(
                "store.not_empty", f"{path} exists already", hint="name a new folder", path=str(path)
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Checkpoint(self._source).create_checkpoint(str(path))
        except OSError as error:
            code = "store.full" if error.errno == errno.ENOSPC else "store.io"
            raise GuildbookError(
                code, f"the copy to {path} failed: {error}", hint="check the target disk"
            ) from error
        except Exception as error:  # see _RocksReader.get
            shutil.rmtree(path, ignore_errors=True)
            raise _translated(error, path) from error

    def close(self) -> None:
        """See KeyValueStore."""
        if not self._closed:
            self._closed = True
            for reader in self._latest:
                reader.release()
            for snapshot in list(self._snapshots):
                snapshot.release()
            try:
                self._source.close()
            except Exception as error:  # see _RocksReader.get
                raise _translated(error, self._path) from error
            finally:
                self._release()
