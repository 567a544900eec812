"""What happens to a store on disk that was damaged: it says so, before anything in it is changed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guildbook.primitives.errors import GuildbookError
from guildbook.state.rocks import (
    LAST_WRITE_FILE,
    LOG_BLOCK_SIZE_BYTES,
    LOG_HEAD_SIZE_BYTES,
    RocksStore,
)

WRITER = """
import os, sys
from pathlib import Path
from guildbook.state.rocks import RocksStore
store = RocksStore(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    store.write([(b"R" + number.to_bytes(8, "big"), os.urandom(200)), (b"Mhead", number.to_bytes(8, "big"))])
if sys.argv[3] == "flush":
    store._source.flush()
    store.write([(b"Rlast", b"last")])
os._exit(0)
"""


def killed_store(path: Path, writes: int, then: str = "") -> Path:
    """A store whose process ended without closing it: its last writes are in the log alone."""
    subprocess.run([sys.executable, "-c", WRITER, str(path), str(writes), then], check=True)
    return path


def content(path: Path) -> dict[bytes, bytes]:
    store = RocksStore(path, must_exist=True, read_only=True)
    try:
        return dict(store.scan(b"", None))
    finally:
        store.close()


def record_heads(path: Path) -> list[int]:
    """Where the records of one of RocksDB's record files begin."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        left = LOG_BLOCK_SIZE_BYTES - place % LOG_BLOCK_SIZE_BYTES
        if left < LOG_HEAD_SIZE_BYTES:
            place += left
            continue
        found.append(place)
        place += LOG_HEAD_SIZE_BYTES + int.from_bytes(data[place + 4 : place + 6], "little")
    return found


def flip(path: Path, place: int, bit: int = 0x40) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


def files_of(path: Path) -> dict[str, bytes]:
    """What is in the folder, but for LOCK: to read it would give up this process's lock on it."""
    return {one.name: one.read_bytes() for one in path.iterdir() if one.name != "LOCK"}


def log_of(path: Path) -> Path:
    return max(path.glob("*.log"), key=lambda one: one.stat().st_size)


def test_a_store_of_a_killed_process_opens_with_everything_that_was_acknowledged(tmp_path):
    path = killed_store(tmp_path / "store", 20)
    store = RocksStore(path, must_exist=True)
    assert store.get(b"Mhead") == (19).to_bytes(8, "big")
    store.close()


def test_a_log_whose_end_was_cut_off_by_damage_is_refused_and_left_as_it_is(tmp_path):
    """The length of the last record now reaches behind the file's end, which looks like an unfinished write."""
    path = killed_store(tmp_path / "store", 20)
    flip(log_of(path), record_heads(log_of(path))[-1] + 5)
    before = files_of(path)
    for read_only in (False, True):
        with pytest.raises(GuildbookError, match="it ends at change 38, and change 40 was acknowledged") as caught:
            RocksStore(path, must_exist=True, read_only=read_only)
        assert caught.value.code == "store.corrupt"
    assert log_of(path).read_bytes() == before[log_of(path).name]


def test_a_write_that_was_not_acknowledged_may_be_cut_off(tmp_path):
    path = killed_store(tmp_path / "store", 20)
    log = log_of(path)
    with log.open("ab") as file:
        file.write(log.read_bytes()[:12])
    store = RocksStore(path, must_exist=True)
    assert store.get(b"Mhead") == (19).to_bytes(8, "big")
    store.close()


def test_a_list_of_files_that_damage_shortened_is_refused_and_left_as_it_is(tmp_path):
    """Without the last entry of the list a flushed table would be forgotten, and deleted."""
    path = killed_store(tmp_path / "store", 20, "flush")
    whole = content(path)
    manifest = path / (path / "CURRENT").read_text().strip()
    flip(manifest, record_heads(manifest)[-1] + 5)
    names = set(files_of(path))
    for read_only in (False, True):
        with pytest.raises(GuildbookError, match=r"its list of files MANIFEST-.* ends inside an entry") as caught:
            RocksStore(path, must_exist=True, read_only=read_only)
        assert caught.value.code == "store.corrupt"
    assert set(files_of(path)) == names
    flip(manifest, record_heads(manifest)[-1] + 5)
    assert content(path) == whole


def test_every_wrong_length_in_a_list_of_files_is_refused(tmp_path):
    path = killed_store(tmp_path / "store", 5, "flush")
    whole = content(path)
    manifest = path / (path / "CURRENT").read_text().strip()
    for head in record_heads(manifest):
        for place, bit in ((head + 4, 0x01), (head + 5, 0x01), (head + 5, 0x80), (head + 6, 0x04)):
            flip(manifest, place, bit)
            with pytest.raises(GuildbookError) as caught:
                assert content(path) == whole
            assert caught.value.code == "store.corrupt"
            flip(manifest, place, bit)
    assert content(path) == whole


def test_a_damaged_last_write_file_is_refused(tmp_path):
    path = killed_store(tmp_path / "store", 3)
    flip(path / LAST_WRITE_FILE, 19, 0x01)
    with pytest.raises(GuildbookError, match=f"{LAST_WRITE_FILE} holds"):
        RocksStore(path, must_exist=True)


def test_a_last_write_file_that_stayed_behind_is_no_damage(tmp_path):
    """After a power failure the file may be older than the store, since it is not synced."""
    path = killed_store(tmp_path / "store", 3)
    older = (path / LAST_WRITE_FILE).read_bytes()
    store = RocksStore(path)
    store.write([(b"Rmore", b"more")])
    store.close()
    (path / LAST_WRITE_FILE).write_bytes(older)
    assert content(path)[b"Rmore"] == b"more"


def test_a_store_older_than_its_last_write_file_is_refused(tmp_path):
    """As when a part of the folder was put back from an older copy."""
    path = killed_store(tmp_path / "store", 3)
    shutil.copytree(path, tmp_path / "older")
    store = RocksStore(path)
    store.write([(b"Rmore", b"more")])
    store.close()
    shutil.copy(path / LAST_WRITE_FILE, tmp_path / "older" / LAST_WRITE_FILE)
    with pytest.raises(GuildbookError, match="it ends at change 6, and change 7 was acknowledged"):
        RocksStore(tmp_path / "older", must_exist=True)


def test_a_store_that_is_read_can_be_opened_by_nobody_else(tmp_path):
    path = killed_store(tmp_path / "store", 3)
    reading = RocksStore(path, must_exist=True, read_only=True)
    before = files_of(path)
    program = ("import sys; from pathlib import Path; from guildbook.state.rocks import RocksStore;"
               "RocksStore(Path(sys.argv[1]), read_only=sys.argv[2] == 'read')")  # fmt: skip
    for way in ("read", "write"):
        other = subprocess.run([sys.executable, "-c", program, str(path), way], capture_output=True, text=True)
        assert "store.locked" in other.stderr
    with pytest.raises(GuildbookError, match="another process uses"):
        RocksStore(path, must_exist=True)
    assert files_of(path) == before
    reading.close()
    RocksStore(path, must_exist=True).close()


def test_a_store_opens_again_at_once_also_while_somebody_keeps_a_snapshot(tmp_path):
    store = RocksStore(tmp_path / "store")
    store.write([(b"a", b"b")])
    snapshot = store.snapshot()
    store.close()
    RocksStore(tmp_path / "store", must_exist=True).close()
    with pytest.raises(GuildbookError):
        snapshot.get(b"a")


def test_a_store_in_a_folder_that_cannot_be_written_can_be_read(tmp_path, monkeypatch):
    path = killed_store(tmp_path / "store", 3)

    def refuse(*_arguments, **_options):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    assert content(path)[b"Mhead"] == (2).to_bytes(8, "big")


def test_noting_the_last_write_costs_less_than_ten_microseconds(tmp_path):
    store = RocksStore(tmp_path / "store")
    store.write([(b"a", b"b")])
    best = min(_seconds_of_notes(store) for _ in range(5))
    store.close()
    assert best < 10e-6, f"{best * 1e6:.1f} microseconds"


def _seconds_of_notes(store: RocksStore) -> float:
    started = time.perf_counter()
    for _ in range(500):
        store._last_write.note(store._source.latest_sequence_number())
    return (time.perf_counter() - started) / 500
