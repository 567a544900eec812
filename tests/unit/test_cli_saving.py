"""Backups of stopped and of running nodes, the way back, and everything that can go wrong on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from command_line import CommandLine, environment, filled, finished, founded, process
from guildbook.client import Client
from guildbook.client.keyfile import read_key
from guildbook.node import open_node
from guildbook.node.backup import LINKS_PREFIX, BackupSocket, asked_to_set_aside, backup, read_manifest
from guildbook.primitives.errors import GuildbookError


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("saving") / "node")
    filled(folder)
    return folder


@pytest.fixture
def saved(run, node, tmp_path):
    run.done("backup", node, tmp_path / "backup")
    return tmp_path / "backup"


def total(run: CommandLine, folder: Path) -> int:
    result = run.done("query", "units.total", "--node", folder, "--json").document["result"]
    assert isinstance(result, int)
    return result


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_a_stopped_node_is_backed_up_and_comes_back(run, node, tmp_path):
    before = {name: data for name, data in files(node).items() if not name.endswith("LOCK")}
    ran = run.done("backup", node, tmp_path / "backup")
    assert "as of block" in ran.out
    assert "The secret keys are not in it" in ran.out
    assert {name: data for name, data in files(node).items() if not name.endswith("LOCK")} == before
    restored = run.done("restore", tmp_path / "backup", tmp_path / "again")
    assert f"put the node's secret keys into {tmp_path / 'again' / 'keys'}" in restored.out
    run.done("check", tmp_path / "again")
    shutil.copytree(node / "keys", tmp_path / "again" / "keys")
    assert total(run, tmp_path / "again") == total(run, node)
    assert (
        run.done("status", "--node", tmp_path / "again", "--json").document["app_hash"]
        == (run.done("status", "--node", node, "--json").document["app_hash"])
    )


def test_a_backup_can_be_checked_and_is_as_good_as_before(run, saved, tmp_path):
    run.done("check", saved)
    run.done("restore", saved, tmp_path / "again")
    assert run.done("status", "--node", tmp_path / "again", "--json").document["running"] is False


def test_the_manifest_says_what_is_in_a_backup(run, node, saved):
    manifest = read_manifest(saved)
    document = run.done("status", "--node", node, "--json").document
    assert (manifest.network, manifest.height, manifest.app_hash) == (
        "test-net",
        document["height"],
        document["app_hash"],
    )
    assert manifest.genesis_hash == document["genesis_hash"]
    assert {one.path for one in manifest.files} == set(files(saved)) - {"backup.json"}
    assert manifest.size_bytes == sum(len(data) for data in files(saved).values()) - len(
        files(saved)["backup.json"]
    )


def test_keys_are_copied_when_they_are_asked_for_and_stay_secret(run, node, tmp_path):
    ran = run.done("backup", node, tmp_path / "backup", "--with-keys", "--json")
    run.done("restore", tmp_path / "backup", tmp_path / "again")
    for folder in (tmp_path / "backup", tmp_path / "again"):
        assert (folder / "keys" / "admin.key").read_bytes() == (node / "keys" / "admin.key").read_bytes()
        assert (folder / "keys" / "admin.key").stat().st_mode & 0o077 == 0
        assert folder.stat().st_mode & 0o077 == 0
    assert ran.document["files"] == len(files(tmp_path / "backup")) - 1
    assert total(run, tmp_path / "again") == total(run, node)


def test_a_running_node_is_backed_up_as_of_one_block(run, tmp_path):
    """Transactions go on while the copy is made; the copy is whole, and the node never notices."""
    folder = founded(tmp_path / "node")
    running = process("run", folder)
    assert running.stdout is not None
    url = running.stdout.readline().split()[3]
    stop = threading.Event()
    sent: list[int] = []

    def write() -> None:
        client = Client(url, read_key(folder / "keys" / "admin.key"), timeout_s=30)
        while not stop.is_set():
            client.call("units.issue", to="a", units=1)
            sent.append(1)
        client.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(sent) < 20:
            time.sleep(0.01)
        for number in range(3):
            acknowledged = len(sent)
            manifest = run.done("backup", folder, tmp_path / f"backup-{number}", "--json").document
            run.done("restore", tmp_path / f"backup-{number}", tmp_path / f"again-{number}")
            assert acknowledged <= manifest["height"] <= 2 * len(sent) + 2
    finally:
        stop.set()
        writer.join()
        running.terminate()
        ended = finished(running, 30)
    assert ended.status == 0, ended
    assert not [one for one in folder.iterdir() if one.name.startswith(LINKS_PREFIX)]
    for number in range(3):
        run.done("check", tmp_path / f"again-{number}")
        shutil.copytree(folder / "keys", tmp_path / f"again-{number}" / "keys")
        assert 20 <= total(run, tmp_path / f"again-{number}") <= len(sent)
    assert total(run, folder) == len(sent)


def test_a_backup_of_a_killed_node_has_everything(run, tmp_path):
    folder = founded(tmp_path / "node")
    running = process("run", folder)
    assert running.stdout is not None
    running.stdout.readline()
    run.done(
        "call", "units.issue", "to=a", "units=5", "--key", folder / "keys" / "admin.key", "--node", folder
    )
    running.kill()
    finished(running)
    run.done("backup", folder, tmp_path / "backup", "--with-keys")
    run.done("restore", tmp_path / "backup", tmp_path / "again")
    run.done("check", tmp_path / "again")
    assert total(run, tmp_path / "again") == 5


def test_what_was_set_aside_goes_when_the_asker_goes(tmp_path):
    folder = founded(tmp_path / "node")
    filled(folder, blocks=1)
    (folder / f"{LINKS_PREFIX}left").mkdir()
    with open_node(folder) as opened, BackupSocket(folder, opened.ledger.store):
        assert not list(folder.glob(f"{LINKS_PREFIX}*"))
        with asked_to_set_aside(folder) as links:
            assert (links / "CURRENT").exists()
        deadline = time.monotonic() + 10
        while list(folder.glob(f"{LINKS_PREFIX}*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not list(folder.glob(f"{LINKS_PREFIX}*"))
    assert not (folder / "backup.sock").exists()


def test_the_socket_works_however_long_the_path_is(tmp_path):
    folder = founded(tmp_path / ("x" * 100) / "node")
    with (
        open_node(folder) as opened,
        BackupSocket(folder, opened.ledger.store),
        asked_to_set_aside(folder) as links,
    ):
        assert (links / "CURRENT").exists()


def test_a_running_node_without_a_socket_is_told_as_such(run, node, tmp_path):
    with open_node(node) as opened, opened.running():
        ran = run("backup", node, tmp_path / "backup", "--json")
    assert (ran.status, ran.error["code"]) == (4, "client.unreachable")
    assert not list(tmp_path.iterdir())


def test_a_backup_overwrites_nothing(run, node, tmp_path):
    (tmp_path / "backup").mkdir()
    for target in (tmp_path / "backup", tmp_path):
        ran = run("backup", node, target, "--json")
        assert (ran.status, ran.error["code"]) == (5, "store.not_empty")
    assert not list((tmp_path / "backup").iterdir())


def test_a_restore_overwrites_nothing(run, node, saved, tmp_path):
    before = {name: data for name, data in files(node).items() if not name.endswith("LOCK")}
    ran = run("restore", saved, node)
    assert ran.status == 5
    assert "holds something already" in ran.err
    assert {name: data for name, data in files(node).items() if not name.endswith("LOCK")} == before
    (tmp_path / "a file").write_text("mine")
    assert run("restore", saved, tmp_path / "a file").status == 5


def test_a_flipped_byte_in_any_file_of_a_backup_is_found_before_anything_is_made(run, saved, tmp_path):
    for name, data in sorted(files(saved).items()):
        for place in sorted({0, len(data) // 2, len(data) - 1}) if data else ():
            (saved / name).write_bytes(data[:place] + bytes((data[place] ^ 4,)) + data[place + 1 :])
            ran = run("restore", saved, tmp_path / "again", "--json")
            assert ran.status in (2, 5), (name, place, ran)
            assert ran.error["code"] in ("store.corrupt", "store.version", "genesis.malformed"), (
                name,
                place,
                ran,
            )
            assert sorted(one.name for one in tmp_path.iterdir()) == ["backup"], (name, place)
        (saved / name).write_bytes(data)
    run.done("restore", saved, tmp_path / "again")


@pytest.mark.parametrize(
    "change", ["missing", "surplus", "shorter", "escaping", "absolute", "twice", "empty", "format"]
)
def test_a_backup_whose_files_are_not_those_of_its_manifest_is_refused(run, saved, tmp_path, change):
    manifest = json.loads((saved / "backup.json").read_text())
    first = manifest["files"][0]
    if change == "missing":
        (saved / first["path"]).unlink()
    elif change == "surplus":
        (saved / "store" / "000099.sst").write_text("more")
    elif change == "shorter":
        (saved / first["path"]).write_bytes(b"")
    elif change == "escaping":
        first["path"] = "../outside"
    elif change == "absolute":
        first["path"] = str(tmp_path / "outside")
    elif change == "twice":
        manifest["files"].append(first)
    elif change == "empty":
        manifest["files"] = []
    else:
        manifest["format"] = 2
    (saved / "backup.json").write_text(json.dumps(manifest))
    ran = run("restore", saved, tmp_path / "again")
    assert ran.status == 5, ran
    assert len(ran.err.splitlines()) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup"]


def test_what_is_no_backup_is_refused(run, node, tmp_path):
    ran = run("restore", node, tmp_path / "again", "--json")
    assert (ran.status, ran.error["code"]) == (5, "store.missing")
    ran = run("backup", tmp_path, tmp_path / "backup", "--json")
    assert (ran.status, ran.error["code"]) == (5, "store.missing")


FULL_DISK = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from guildbook.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("way", ["backup", "restore"])
def test_a_full_disk_leaves_nothing_half_made(run, node, saved, tmp_path, way):
    """A bound on the size of files stands for the disk: a write beyond it fails in the same way."""
    source = node if way == "backup" else saved
    words = [sys.executable, "-c", FULL_DISK, way, str(source), str(tmp_path / "target"), "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=60)
    assert ran.returncode == 5, ran
    assert json.loads(ran.stdout)["error"]["code"] == "store.full"
    assert "Traceback" not in ran.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup"]


SLOW_COPY = """
import sys, time
import guildbook.node.backup as backup
whole = backup.copy_files
def slow(files, draft, progress):
    copied = whole(files, draft, progress)
    print("copied", file=sys.stderr, flush=True)
    time.sleep(60)
    return copied
backup.copy_files = slow
from guildbook.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_backup_that_is_stopped_leaves_nothing(node, tmp_path, number, status):
    words = [sys.executable, "-c", SLOW_COPY, "backup", str(node), str(tmp_path / "target")]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment())
    assert running.stderr is not None
    assert running.stderr.readline() == "copied\n"
    running.send_signal(number)
    _out, err = running.communicate(timeout=30)
    assert running.returncode == status, err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_copy_that_does_not_open_is_no_backup(node, tmp_path, monkeypatch):
    damaged = tmp_path / "node"
    shutil.copytree(node, damaged, ignore=shutil.ignore_patterns("LOCK"))
    table = max((damaged / "store").glob("*.sst"), key=lambda one: one.stat().st_size)
    os.truncate(table, 100)
    with pytest.raises(GuildbookError) as caught:
        backup(damaged, tmp_path / "target")
    assert caught.value.code == "store.corrupt"
    assert not (tmp_path / "target").exists()
