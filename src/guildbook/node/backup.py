"""Backups: a consistent copy of a node's store with a manifest, and the way back.

A backup is a folder:

    backup.json       the manifest: network, height, application hash, and size and SHA-256 of every other file
    genesis.json      the founding document
    guildbook.toml    the node's configuration
    peers.json        where the nodes are reached, of a network of several members
    store/            the ledger as of that height
    keys/             the node's secret keys, only when they were asked for

Making one. The files of a stopped node are copied while its store is locked. A running node is asked, over a socket
in its folder which only its owner can reach, to set its store's files aside: RocksDB links them under another name at
one moment, which takes a fraction of a second. The copying is done by whoever asked, and the node lets the links go
when the asker hangs up. Views are left out, since they are built again from the store.

Both ways everything is written under another name beside its place, and moved there when it is complete and verified.
So a full disk, a killed process or a flipped byte leaves no half a backup and no half a node.
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

import guildbook
from guildbook.chain.genesis import read_genesis
from guildbook.chain.head import HEAD_KEY, decode_head
from guildbook.node.folder import FOLDER_MODE, NodeFolder, running_node
from guildbook.primitives.errors import GuildbookError
from guildbook.state.kv import KeyValueStore
from guildbook.state.rocks import RocksStore

BACKUP_FORMAT = 1
MANIFEST_FILE = "backup.json"
MANIFEST_SIZE_BYTES_MAX = 16 << 20
FILES_MAX = 100_000
SOCKET_FILE = "backup.sock"
LINKS_PREFIX = ".set-aside-"
COPY_SIZE_BYTES = 1 << 20
ANSWER_SIZE_BYTES_MAX = 65_536
ANSWER_TIMEOUT_S = 60.0
LEFT_OUT = frozenset({"LOCK", "LOG", "LOG.old"})
"""Files of a store that belong to the process which has it open."""
LEFT_BEHIND = frozenset(f"store/{name}" for name in LEFT_OUT)
"""What a check of a backup leaves in it."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FILE_NAME = re.compile(r"((store|keys)/)?[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all)."""

_log = logging.getLogger("guildbook.backup")


class BackedUpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup: its path below the backup's folder, size in bytes, and SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. ``time_ms`` is when it was made, ``height`` and ``app_hash`` what the store ends with."""

    format: int
    network: str
    genesis_hash: str
    height: int
    app_hash: str
    time_ms: int
    software: str
    files: list[BackedUpFile]

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(one.size_bytes for one in self.files)

    def to_json(self) -> bytes:
        """The manifest's file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class SetAside(msgspec.Struct, frozen=True):
    """A running node's answer: the folder of links to its store's files, or the error's code and message."""

    folder: str = ""
    code: str = ""
    message: str = ""


class Copied(NamedTuple):
    """A file to copy: where it is, and its path in the backup."""

    source: Path
    name: str


def _no_progress(_done: int, _total: int) -> None:
    """A progress report that nobody reads."""


# making a backup -----------------------------------------------------------------------------------------------


def backup(
    path: Path, target: Path, *, with_keys: bool = False, progress: Progress = _no_progress
) -> Manifest:
    """Back up the node in the folder ``path``, running or stopped, to the new folder ``target``; gives the manifest.

    Raises GuildbookError ``store.not_empty`` when ``target`` exists, ``store.full`` or ``store.io`` when it cannot be
    written, ``store.locked`` when another program has the store open, ``store.corrupt`` when the copy does not open,
    and ``client.unreachable`` when the running node does not answer.
    """
    if target.exists() or target.is_symlink():
        raise _exists(target)
    folder = NodeFolder(path)
    with draft_of(target) as draft, files_at_rest(folder) as store:
        files = [
            Copied(one, f"store/{one.name}") for one in sorted(store.iterdir()) if one.name not in LEFT_OUT
        ]
        for one in (folder.genesis, folder.config, folder.peers):
            if one.exists():
                files.append(Copied(one, one.name))
        if with_keys:
            files += [
                Copied(one, f"keys/{one.name}") for one in sorted(folder.keys.iterdir()) if one.is_file()
            ]
        copied = copy_files(files, draft, progress)
        manifest = _manifest(draft, copied)
        write_durably(draft / MANIFEST_FILE, manifest.to_json())
        move_into_place(draft, target)
    return manifest


def _manifest(draft: Path, files: list[BackedUpFile]) -> Manifest:
    """The manifest of the copied files; the copied store is opened, which shows that it can be."""
    store = RocksStore(draft / "store", must_exist=True, read_only=True)
    try:
        head = decode_head(store.get(HEAD_KEY) or b"")
        genesis = read_genesis((draft / "genesis.json").read_bytes())
    finally:
        store.close()
        (draft / "store" / "LOCK").unlink(missing_ok=True)
    return Manifest(
        format=BACKUP_FORMAT,
        network=genesis.network,
        genesis_hash=genesis.hash.hex(),
        height=head.height,
        app_hash=head.app_hash.hex(),
        time_ms=time.time_ns() // 1_000_000,
        software=guildbook.__version__,
        files=files,
    )


@contextmanager
def files_at_rest(folder: NodeFolder) -> Iterator[Path]:
    """A folder with the store's files, which do not change while the block runs."""
    if running_node(folder.path) is not None:
        with asked_to_set_aside(folder.path) as links:
            yield links
        return
    store = RocksStore(folder.store, must_exist=True, read_only=True)
    try:
        yield folder.store
    finally:
        store.close()


# reading one back ----------------------------------------------------------------------------------------------


def read_manifest(source: Path) -> Manifest:
    """The manifest of the backup in the folder ``source``.

    Raises GuildbookError ``store.missing``, ``store.corrupt`` or ``store.version``.
    """
    try:
        with (source / MANIFEST_FILE).open("rb") as file:
            data = file.read(MANIFEST_SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise GuildbookError(
            "store.missing",
            f"{source} holds no backup: {MANIFEST_FILE} is not there",
            hint="name a folder that guildbook backup made",
            path=str(source),
        ) from None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(source, f"{MANIFEST_FILE} cannot be read: {error}") from None
    if manifest.format != BACKUP_FORMAT:
        raise GuildbookError(
            "store.version",
            f"the backup {source} has format {manifest.format}",
            hint=f"this software reads format {BACKUP_FORMAT}; see the changelog",
            format=manifest.format,
        )
    names = [one.path for one in manifest.files]
    wrong = [name for name in names if _FILE_NAME.match(name) is None]
    if wrong or len(set(names)) != len(names) or not 0 < len(names) <= FILES_MAX:
        raise _damaged(
            source, f"{MANIFEST_FILE} names files that no backup has: {', '.join(wrong[:3])[:200]}"
        )
    return manifest


def restore(source: Path, path: Path, *, progress: Progress = _no_progress) -> Manifest:
    """Make a node's folder ``path``, which is empty or absent, from the backup in ``source``; gives the manifest.

    Every file is held against the manifest as it is read, and again as it was written. Raises GuildbookError
    ``store.missing``, ``store.corrupt`` or ``store.version`` for the backup, ``store.not_empty``, ``store.full`` or
    ``store.io`` for the folder.
    """
    manifest = read_manifest(source)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise _exists(path)
    _refuse_surplus(source, manifest)
    with draft_of(path) as draft:
        files = [Copied(source / one.path, one.path) for one in manifest.files]
        total = 2 * manifest.size_bytes
        read = copy_files(files, draft, lambda done, _total: progress(done, total))
        done = manifest.size_bytes
        for expected, got in zip(manifest.files, read, strict=True):
            if got != expected:
                raise _damaged(source, f"{expected.path} is not the file that was backed up")
        for expected in manifest.files:
            if digest_of(draft / expected.path) != expected.sha256:
                raise GuildbookError(
                    "store.io",
                    f"{expected.path} was not written to {path} as it was read",
                    hint="check the disk of the folder, and restore to another",
                    path=str(path),
                )
            done += expected.size_bytes
            progress(done, total)
        _check_restored(source, draft, manifest)
        move_into_place(draft, path)
    return manifest


def _check_restored(source: Path, draft: Path, manifest: Manifest) -> None:
    found = _manifest(draft, manifest.files)
    if (found.network, found.genesis_hash, found.height, found.app_hash) != (
        manifest.network,
        manifest.genesis_hash,
        manifest.height,
        manifest.app_hash,
    ):
        raise _damaged(
            source, f"its store ends at height {found.height}, and the manifest states {manifest.height}"
        )


def _refuse_surplus(source: Path, manifest: Manifest) -> None:
    known = {one.path for one in manifest.files} | {MANIFEST_FILE}
    for one in sorted(source.rglob("*")):
        name = one.relative_to(source).as_posix()
        if not one.is_dir() and name not in known and name not in LEFT_BEHIND:
            raise _damaged(source, f"{name} is not in its manifest")


# a running node's part -----------------------------------------------------------------------------------------


class BackupSocket:
    """The socket in a running node's folder where its owner asks for the store's files to be set aside.

    One asker at a time; what was set aside is let go when it hangs up. Who may reach the folder may ask: a node's
    folder is its owner's alone.
    """

    def __init__(self, path: Path, store: KeyValueStore) -> None:
        self._path = path
        self._store = store
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="backup", daemon=True)

    def start(self) -> None:
        """Listen; whatever an earlier process left behind is removed."""
        for left in self._path.glob(f"{LINKS_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        (self._path / SOCKET_FILE).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        with _short_name(self._path) as name:
            self._socket.bind(name)
        (self._path / SOCKET_FILE).chmod(0o600)
        self._socket.listen(1)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. A copy that is being made is not waited for."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None
            (self._path / SOCKET_FILE).unlink(missing_ok=True)

    def __enter__(self) -> "BackupSocket":
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _serve(self) -> None:
        listening = self._socket
        while listening is not None:
            try:
                asker, _address = listening.accept()
            except OSError:
                return
            links = self._path / f"{LINKS_PREFIX}{secrets.token_hex(4)}"
            try:
                with asker:
                    asker.sendall(msgspec.json.encode(self._set_aside(links)) + b"\n")
                    asker.recv(1)  # until the asker hangs up
            except OSError as error:
                _log.warning("a backup was given up: %s", error)
            finally:
                shutil.rmtree(links, ignore_errors=True)

    def _set_aside(self, links: Path) -> SetAside:
        try:
            self._store.checkpoint(links)
        except GuildbookError as error:
            return SetAside(code=error.code, message=error.message)
        return SetAside(folder=links.name)


@contextmanager
def asked_to_set_aside(path: Path) -> Iterator[Path]:
    """The files of the running node in the folder ``path`` as of one moment, for the time of the block.

    Raises GuildbookError ``client.unreachable``, and what the node answers.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        told = _ask(connection, path)
        if told.code:
            raise GuildbookError(told.code, told.message)
        yield path / Path(told.folder).name


def _ask(connection: socket.socket, path: Path) -> SetAside:
    try:
        connection.settimeout(ANSWER_TIMEOUT_S)
        with _short_name(path) as name:
            connection.connect(name)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < ANSWER_SIZE_BYTES_MAX:
            piece = connection.recv(ANSWER_SIZE_BYTES_MAX)
            if not piece:
                break
            answer += piece
        return msgspec.json.decode(answer, type=SetAside)
    except (OSError, msgspec.DecodeError) as error:
        raise GuildbookError(
            "client.unreachable",
            f"the node in {path} runs and does not answer at {SOCKET_FILE}: {error}",
            hint="try again, or stop the node and back it up then",
            path=str(path),
        ) from None


@contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name of the folder's socket that is short enough for an address, whatever the length of the path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_FILE}"
    finally:
        os.close(descriptor)


# files ---------------------------------------------------------------------------------------------------------


def copy_files(files: list[Copied], draft: Path, progress: Progress) -> list[BackedUpFile]:
    """Copy ``files`` into ``draft``, durably; gives their sizes and digests as they were read."""
    total = sum(one.source.stat().st_size for one in files)
    done = 0
    copied = []
    for source, name in files:
        target = draft / name
        target.parent.mkdir(exist_ok=True, mode=FOLDER_MODE)
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
            while piece := reading.read(COPY_SIZE_BYTES):
                writing.write(piece)
                digest.update(piece)
                size += len(piece)
                progress(done + size, total)
            writing.flush()
            os.fsync(writing.fileno())
        done += size
        copied.append(BackedUpFile(name, size, digest.hexdigest()))
    return copied


def digest_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, data: bytes) -> None:
    """Write ``data`` to the new file ``path``, and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` to fill, which is gone when the block ends, unless it was moved to its place."""
    parent = target.absolute().parent
    draft = parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            draft.mkdir(mode=FOLDER_MODE)
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        full = error.errno in NO_ROOM
        raise GuildbookError(
            "store.full" if full else "store.io",
            f"{target} was not made: {error.strerror or error}; nothing of it is left",
            hint="free space, or name a folder on another volume"
            if full
            else "check the path and its permissions",
            path=str(target),
        ) from error


def move_into_place(draft: Path, target: Path) -> None:
    """Give the finished folder its name, durably."""
    for folder in (*(one for one in draft.iterdir() if one.is_dir()), draft):
        _sync(folder)
    try:
        os.rename(draft, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _exists(target) from None
        raise
    _sync(target.absolute().parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path) -> GuildbookError:
    return GuildbookError(
        "store.not_empty", f"{path} holds something already", hint="name a new folder", path=str(path)
    )


def _damaged(source: Path, what: str) -> GuildbookError:
    return GuildbookError(
        "store.corrupt",
        f"the backup {source} is damaged: {what}",
        hint="use another backup; nothing was restored",
        path=str(source),
    )
