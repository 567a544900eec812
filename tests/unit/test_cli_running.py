"""Founding a node and running it, as processes: ready, stopped, asked twice."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import APPLICATION, CommandLine, environment, filled, finished, founded, process
from guildbook.chain.genesis import read_genesis
from guildbook.foundation import FOUNDATION
from guildbook.node import running_node

READY_S_MAX = 60


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


def started(folder: Path, *words: object, **options: object) -> "tuple[subprocess.Popen[str], str]":
    """A node's process that is ready, and the first line that it said."""
    running = process("run", folder, *words, **options)
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line, finished(running)
    return running, line


def test_init_founds_a_network_and_says_what_is_next(run, tmp_path):
    ran = run.done(
        "init", tmp_path / "alliance", "--app", APPLICATION, "--organisation", "Hafen Zürich", "--port", 0
    )
    assert ran.out.startswith(f"founded the network alliance in {tmp_path / 'alliance'}")
    assert f"guildbook run {tmp_path / 'alliance'}" in ran.out
    folder = tmp_path / "alliance"
    assert sorted(one.name for one in folder.iterdir()) == ["genesis.json", "guildbook.toml", "keys", "store"]
    for key in ("validator.key", "admin.key"):
        assert stat.S_IMODE((folder / "keys" / key).stat().st_mode) == 0o600
    genesis = read_genesis((folder / "genesis.json").read_bytes())
    assert [one.name for one in genesis.contracts][-1] == "units"
    assert genesis.organisations[0].id == "hafen-zurich"
    assert genesis.organisations[0].name == "Hafen Zürich"
    assert "port = 0" in (folder / "guildbook.toml").read_text()


def test_init_names_everything_in_json(run, tmp_path):
    document = run.done("init", tmp_path / "node", "--network", "harbour-points", "--json").document
    assert document["network"] == "harbour-points"
    assert document["contracts"] == [one.contract_name for one in FOUNDATION]
    assert Path(document["key"]).exists()


WRONG_INITS = [
    (["--network", "X"], "identifier.malformed", 2),
    (["--app", "nothing"], "node.bad_configuration", 2),
    (["--app", "nothing.at:All"], "node.bad_configuration", 2),
    (["--jurisdiction", "a b"], "identifier.malformed", 2),
    (["--organisation", "x" * 201], "cli.usage", 2),
    (["--organisation", ""], "cli.usage", 2),
]


@pytest.mark.parametrize(
    ("words", "code", "status"), WRONG_INITS, ids=[" ".join(one[0]) for one in WRONG_INITS]
)
def test_a_founding_that_cannot_be_is_refused_and_leaves_nothing(run, tmp_path, words, code, status):
    ran = run("init", tmp_path / "node", *words, "--json")
    assert (ran.error["code"], ran.status) == (code, status), ran
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_not_founded_in(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    ran = run("init", tmp_path, "--network", "net-1", "--json")
    assert (ran.status, ran.error["code"]) == (5, "store.not_empty")
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_founded_in(run, tmp_path):
    (tmp_path / "node").mkdir()
    run.done("init", tmp_path / "node")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_runs_until_it_is_told_to_stop(run, tmp_path, number):
    folder = founded(tmp_path / "node")
    running, line = started(folder)
    assert line.startswith("test-net runs at http://127.0.0.1:")
    assert "Ctrl-C stops it" in line
    assert run.done("status", "--node", folder, "--json").document["running"] is True
    key = folder / "keys" / "admin.key"
    run.done("call", "units.issue", "to=a", "units=3", "--key", key, "--node", folder)
    running.send_signal(number)
    ran = finished(running, 30)
    assert ran.status == 0, ran
    assert "Traceback" not in ran.err
    assert "stopped at block" in ran.err
    assert running_node(folder) is None
    assert sorted(one.name for one in folder.iterdir() if one.name.startswith((".", "backup", "node"))) == []
    assert run.done("query", "units.total", "--node", folder, "--json").document["result"] == 3
    run.done("check", folder)


def test_a_running_node_says_what_it_is_in_one_json_document(tmp_path):
    folder = founded(tmp_path / "node")
    running = process("run", folder, "--json", "--port", 0)
    assert running.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        text += running.stdout.readline()
    document = json.loads(text)
    assert document["pid"] == running.pid
    assert document["network"] == "test-net"
    running.terminate()
    ran = finished(running, 30)
    assert (ran.status, ran.out) == (0, "")


def test_a_second_node_on_a_folder_is_told_who_has_it(run, tmp_path):
    folder = founded(tmp_path / "node")
    running, _line = started(folder)
    try:
        second = finished(process("run", folder))
        assert second.status == 5
        assert f"runs already, as process {running.pid} at http://127.0.0.1:" in second.err
        assert f"kill {running.pid}" in second.err
        for words in (("check", folder), ("replay", folder), ("prune", folder, "--keep", 2)):
            refused = finished(process(*words, "--json"))
            assert (refused.status, refused.error["code"]) == (5, "store.locked")
            assert refused.error["hint"] == f"stop it first, with: kill {running.pid}"
    finally:
        running.terminate()
        finished(running, 30)


def test_a_port_that_is_taken_is_told(run, tmp_path):
    one, two = founded(tmp_path / "one"), founded(tmp_path / "two")
    running, line = started(one)
    try:
        port = line.split("http://127.0.0.1:")[1].split()[0]
        second = finished(process("run", two, "--port", port))
        assert second.status == 2, second
        assert port in second.err
        assert "Traceback" not in second.err
    finally:
        running.terminate()
        finished(running, 30)


def test_a_node_that_was_killed_starts_again_with_everything(run, tmp_path):
    folder = founded(tmp_path / "node")
    running, _line = started(folder)
    key = folder / "keys" / "admin.key"
    for number in range(3):
        run.done("call", "units.issue", f"to=a-{number}", "units=1", "--key", key, "--node", folder)
    running.kill()
    finished(running, 30)
    assert run.done("query", "units.total", "--node", folder, "--json").document["result"] == 3
    run.done("check", folder)
    again, _line = started(folder)
    again.terminate()
    assert finished(again, 30).status == 0


def test_the_address_can_be_read_through_a_pipe_that_closes(tmp_path):
    """`guildbook run node | head -1` keeps running: only its first line had a reader."""
    folder = founded(tmp_path / "node")
    script = f"{sys.executable} -m guildbook.cli.main run {folder} | head -1"
    shell = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True, env=environment(),
                             start_new_session=True)  # fmt: skip
    with shell:
        assert shell.stdout is not None
        assert "runs at" in shell.stdout.readline()
        time.sleep(0.3)
        found = running_node(folder)
        assert found is not None
        os.kill(found.pid, signal.SIGTERM)
    assert shell.returncode == 0


BROKEN = [
    ("genesis.json", "{}", "genesis.malformed"),
    ("guildbook.toml", "[http]\nport = 'x'\n", "node.bad_configuration"),
    ("guildbook.toml", "[http\n", "node.bad_configuration"),
    ("keys/validator.key", "nonsense", "key.malformed"),
]


@pytest.mark.parametrize(("name", "text", "code"), BROKEN, ids=["genesis", "value", "toml", "key"])
def test_a_folder_that_is_broken_is_refused_in_two_lines(run, tmp_path, name, text, code):
    folder = founded(tmp_path / "node")
    (folder / name).write_text(text)
    ran = run("run", folder, "--json")
    assert ran.status not in (0, 1), ran
    assert ran.error["code"] == code
    plain = run("run", folder)
    assert len(plain.err.splitlines()) == 2, plain.err


def test_a_node_is_not_run_without_assertions(tmp_path):
    folder = founded(tmp_path / "node")
    words = [sys.executable, "-O", "-m", "guildbook.cli.main", "run", str(folder), "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=60)
    assert ran.returncode == 5
    assert json.loads(ran.stdout)["error"]["code"] == "node.assertions_off"


def test_status_of_a_stopped_node_is_that_of_its_store(run, tmp_path):
    folder = founded(tmp_path / "node")
    assert ", provable from the next block on\n" in run.done("status", "--node", folder).out
    filled(folder, blocks=1, calls=2)
    document = run.done("status", "--node", folder, "--json").document
    assert document["running"] is False
    assert document["url"] is None
    assert document["log_size"] == 2


def test_ctrl_c_reaches_every_process_of_a_node_and_none_complains(run, tmp_path):
    """A terminal sends it to the whole group: node, views and signature workers."""
    folder = founded(tmp_path / "node", sequencer__signature_workers=1)
    running, _line = started(folder, start_new_session=True)
    key = folder / "keys" / "admin.key"
    run.done("call", "units.issue", "to=a", "units=3", "--key", key, "--node", folder)
    run.done("sql", "SELECT 1", "--node", folder)
    os.killpg(running.pid, signal.SIGINT)
    ran = finished(running, 30)
    assert ran.status == 0, ran
    assert "Traceback" not in ran.err
    assert "stopped at block" in ran.err


def test_ctrl_c_right_after_the_start_is_met_by_no_process_that_complains(tmp_path):
    """Views and signature workers are still importing then."""
    folder = founded(tmp_path / "node", sequencer__signature_workers=1)
    running, _line = started(folder, start_new_session=True)
    os.killpg(running.pid, signal.SIGINT)
    ran = finished(running, 30)
    assert ran.status == 0, ran
    assert "Traceback" not in ran.err
    assert "the views' process ended" not in ran.err


def test_the_next_steps_of_a_founding_can_be_pasted(run, tmp_path):
    ran = run.done("init", tmp_path / "our node", "--network", "net-1", "--port", 0)
    assert f"  guildbook run '{tmp_path}/our node'\n" in ran.out


LOADED = (
    "import sys; from guildbook.cli.main import main; print('loaded', file=sys.stderr, flush=True);"
    "sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize("words", [["query", "units.total"], ["status"]])
def test_ctrl_c_ends_a_read_of_a_stopped_node_at_any_moment(tmp_path, words):
    folder = founded(tmp_path / "node")
    for delay_s in (0.05, 0.2, 0.5, 0.9):
        command = [sys.executable, "-c", LOADED, *words, "--node", str(folder)]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        assert running.stderr is not None
        assert running.stderr.readline() == "loaded\n"
        time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGINT)
        ran = finished(running, 30)
        # Minus SIGINT: it came when the work was done and the interpreter was ending; a shell shows 130 for it.
        assert ran.status in (0, 130, -signal.SIGINT), (delay_s, ran)
        assert "Traceback" not in ran.err, (delay_s, ran.err)
