"""The store on disk: RocksDB behind the ordered key-value interface.

Law. One ``write`` is one write-ahead-log record, synced before it returns: after a crash the store holds either
all of a block or nothing of it. RocksDB checks a checksum on every block it reads, so a flipped byte is an error,
never a wrong answer. One process owns a store folder; a second one is told so.
"""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import Pairs, Reader

BLOCK_CACHE_SIZE_BYTES = 64 << 20
WRITE_BUFFER_SIZE_BYTES = 32 << 20
OPEN_FILES_MAX = 256
BLOB_SIZE_BYTES_MIN = 4096
BLOOM_BITS_PER_KEY = 10


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_write_buffer_size(WRITE_BUFFER_SIZE_BYTES)
    options.set_max_write_buffer_number(3)
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
    table.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(table)
    return options


def _translated(error: Exception, path: Path) -> GuildbookError:
    """The operational error for what RocksDB reports, told apart by the fixed words of its status."""
    text = str(error)
    low = text.lower()
    if "lock file" in low or "lock hold" in low or "while lock" in low:
        return GuildbookError(
            "store.locked",
            f"another process uses the store {path}",
            hint="stop the other node, or give this one its own folder",
            path=str(path),
        )
    if "no space left" in low or "disk quota" in low or "file too large" in low:
        return GuildbookError(
            "store.full",
            f"no space is left for the store {path}; nothing of this block was kept",
            hint="free space on the disk, then start the node again",
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


class _SnapshotReader(_RocksReader):
    """A snapshot: its ``get`` is by subscript."""

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

    ``path`` is created unless ``must_exist``.
    Without ``durable`` writes are not synced: for
    scratch stores only. Raises GuildbookError ``store.locked``, ``store.missing``, ``store.corrupt``, ``store.full`` or ``store.io``.
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
        access = AccessType.read_only() if read_only else AccessType.read_write()
        try:
            database = Rdict(str(path), options=_options(), access_type=access)
        except Exception as error:  # see _RocksReader.get
            raise _translated(error, path) from error
        super().__init__(database, path)
        self._write_options = WriteOptions()
        self._write_options.sync = durable
        self._closed = False

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

    def snapshot(self) -> Reader:
        """See KeyValueStore."""
        return _SnapshotReader(self._source.snapshot(), self._path)

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
            self._source.close()
