"""The command line as a whole: help, errors, and how a command ends."""

import json
import os
import signal
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from command_line import CommandLine, environment, finished, founded, process
from guildbook.cli import main as rim
from guildbook.cli.command import Command
from guildbook.cli.main import COMMANDS, guildbook_command
from guildbook.cli.terminal import Terminal, shown, table_lines


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


def leaves(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    """All commands that do something, with their words."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None, name
        found += leaves(inner, (*path, name))
    return found


LEAVES = leaves(guildbook_command, ())


def test_every_command_of_the_table_is_there():
    listed = CliRunner().invoke(guildbook_command, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in listed.output


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _command in LEAVES])
def test_every_command_says_what_it_does_with_examples(path, command):
    assert isinstance(command, Command)
    result = CliRunner().invoke(guildbook_command, [*path, "--help"], obj=Terminal())
    assert result.exit_code == 0, result.output
    assert command.help
    assert command.examples
    for example in command.examples:
        assert example in result.output
        assert f"guildbook {' '.join(path)}" in example
    assert "--json" in result.output
    assert "--debug" in result.output


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _command in LEAVES])
def test_every_option_is_described(path, command):
    context = click.Context(command)
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and path[0] != "demo":
            assert parameter.help, parameter.name


def test_json_may_be_asked_for_in_front(run, tmp_path):
    assert run("--json", "check", tmp_path).error["code"] == "store.missing"
    assert run.done("--json", "keys", "list", tmp_path).document["keys"] == []
    assert run.done("keys", "--json", "list", tmp_path).document["keys"] == []


def test_the_version_is_told(run):
    assert run.done("--version").out.startswith("guildbook ")


def test_without_a_command_the_help_is_shown(run):
    ran = run()
    assert "Commands:" in ran.out + ran.err
    assert run("keys").status == 2


WRONG = [
    (["nonsense"], "No such command 'nonsense'"),
    (["check"], "Missing argument 'FOLDER'"),
    (["check", "nowhere"], "'nowhere' does not exist"),
    (["replay", ".", "--until", "x"], "'x' is not a valid integer"),
    (["run", "nowhere"], "'nowhere' does not exist"),
    (["init"], "Missing argument 'FOLDER'"),
    (["init", "here", "--port", "70000"], "70000 is not in the range"),
    (["call", "units.issue"], "Missing option '--key'"),
    (["call"], "Missing argument 'COMMAND'"),
    (["query"], "Missing argument 'QUERY'"),
    (["query", "units.total", "--url", "http://x", "--node", "."], "name two ledgers"),
    (["sql"], "Missing argument 'STATEMENT'"),
    (["sql", "SELECT 1", "--csv", "--parquet", "x.parquet"], "three ways to answer"),
    (["prove", "nothing"], "No such command 'nothing'"),
    (["prove", "receipt", "abc", "-o", "x"], "'abc' is not a transaction's id"),
    (["prove", "row", "units.accounts", "-o", "x"], "Missing argument"),
    (["verify", "x.evidence"], "Missing option '--trust'"),
    (["trust", "nowhere"], "'nowhere' does not exist"),
    (["backup", "nowhere", "target"], "'nowhere' does not exist"),
    (["restore", "nowhere", "target"], "'nowhere' does not exist"),
    (["keys", "nothing"], "No such command 'nothing'"),
    (["keys", "new"], "Missing argument 'FILE'"),
    (["gate"], "Missing argument 'FILES...'"),
    (["new-app"], "Missing argument 'NAME'"),
    (["demo", "nothing"], "No such command 'nothing'"),
    (["status", "--timeout", "0"], "0 is not in the range"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _message in WRONG])
def test_wrong_words_are_refused_in_two_lines(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(*words)
    assert ran.status == 2, ran
    assert ran.out == ""
    first, second = ran.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("  what to do: run: guildbook")
    told = run(*words, "--json")
    assert (told.status, told.err) == (2, "")
    assert told.error["code"] == "cli.usage"
    assert not list(tmp_path.iterdir())


def test_a_mistake_of_the_program_is_told_without_a_traceback(run, tmp_path, monkeypatch):
    def broken(*_arguments: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("guildbook.runtime.gate.check_source", broken)
    (tmp_path / "contract.py").write_text("")
    ran = run("gate", tmp_path / "contract.py")
    assert ran.status == rim.EXIT_FAULT
    assert "this is a mistake of the program: KeyError: 'lost'" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in run("gate", tmp_path / "contract.py", "--debug").err
    assert run("gate", tmp_path / "contract.py", "--json").error["code"] == "cli.fault"


def test_an_assertion_that_fails_is_a_mistake_of_the_program(run, tmp_path, monkeypatch):
    def broken(*_arguments: object) -> None:
        raise AssertionError("a law")

    monkeypatch.setattr("guildbook.runtime.gate.check_source", broken)
    (tmp_path / "contract.py").write_text("")
    assert run("gate", tmp_path / "contract.py").status == rim.EXIT_FAULT


def test_debug_shows_where_an_error_arose(run, tmp_path):
    assert "Traceback" in run("check", tmp_path, "--debug").err
    assert "Traceback" not in run("check", tmp_path).err


def test_an_error_is_red_on_a_terminal_only_where_colour_is_wanted(capsys, monkeypatch):
    monkeypatch.setattr("guildbook.cli.terminal._is_terminal", lambda _stream: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    Terminal().error({}, "no", "yes")
    assert "\x1b[31m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    Terminal().error({}, "no", "yes")
    assert capsys.readouterr().err == "error: no\n  what to do: yes\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_text_is_written_in_every_encoding(encoding, tmp_path):
    source = tmp_path / "contract.py"
    source.write_text('"""Größe, 数量, ☃."""\nx = "数量".nonsense\n', "utf-8")
    for flag in ("--json", "--debug"):
        words = [
            sys.executable,
            "-m",
            "guildbook.cli.main",
            "gate",
            str(tmp_path / "数量.py"),
            str(source),
            flag,
        ]
        ran = subprocess.run(
            words, capture_output=True, env=environment(PYTHONIOENCODING=encoding), timeout=60
        )
        assert ran.returncode == 2, ran
        assert b"UnicodeEncodeError" not in ran.stderr
        if flag == "--json":
            json.loads(ran.stdout.decode(encoding))


def test_a_reader_that_goes_away_ends_the_command_without_a_word(tmp_path):
    source = tmp_path / "contract.py"
    source.write_text("".join(f"x{number} = 1.5\n" for number in range(90)))
    files = " ".join([str(source)] * 400)
    script = f"{sys.executable} -m guildbook.cli.main gate {files} | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment(), timeout=120
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines()[-1] == str(rim.EXIT_PIPE_CLOSED)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_the_answer_is_told(tmp_path):
    with open("/dev/full", "w") as full:
        running = process("new-app", "--help", stdout=full)
        _out, err = running.communicate(timeout=60)
    assert running.returncode == 5, err
    assert "no room is left" in err
    assert "Traceback" not in err


def test_ctrl_c_ends_with_130_and_leaves_nothing(tmp_path):
    check_stopped(tmp_path, signal.SIGINT, rim.EXIT_INTERRUPTED)


def test_sigterm_ends_with_143_and_leaves_nothing(tmp_path):
    check_stopped(tmp_path, signal.SIGTERM, rim.EXIT_TERMINATED)


SLOW_REPLAY = """
import sys, time
import guildbook.chain.replay as replay
def slow(*arguments, **options):
    print("replaying", file=sys.stderr, flush=True)
    time.sleep(60)
    yield
replay.replay = slow
from guildbook.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def check_stopped(tmp_path, number, status):
    """A replay that is told to stop removes its scratch store, and its output was never there."""
    folder = founded(tmp_path / "node")
    words = ["replay", str(folder), "--output", str(tmp_path / "rebuilt")]
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW_REPLAY, *words], text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment())  # fmt: skip
    assert running.stderr is not None
    assert running.stderr.readline() == "replaying\n"
    time.sleep(0.2)
    running.send_signal(number)
    ran = finished(running, 20)
    assert ran.status == status, ran
    assert "Traceback" not in ran.err
    assert [one.name for one in tmp_path.iterdir()] == ["node"]


def test_ctrl_c_inside_generated_code_ends_with_130_too(tmp_path):
    program = (
        "import sys, guildbook.runtime.gate as gate\n"
        "def interrupted(*_arguments): exec('raise KeyboardInterrupt')\n"
        "gate.check_source = interrupted\n"
        "from guildbook.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "contract.py").write_text("")
    words = [sys.executable, "-c", program, "gate", str(tmp_path / "contract.py")]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=60)
    assert (ran.returncode, ran.stderr) == (rim.EXIT_INTERRUPTED, "stopped\n")


def test_ctrl_c_that_strikes_a_callback_of_the_interpreter_is_not_lost(tmp_path):
    program = (
        "import sys, time, weakref, guildbook.runtime.gate as gate\n"
        "class Thing: pass\n"
        "def callback(_reference): raise KeyboardInterrupt\n"
        "def interrupted(*_arguments):\n"
        "    thing = Thing(); reference = weakref.ref(thing, callback); del thing; time.sleep(30)\n"
        "gate.check_source = interrupted\n"
        "from guildbook.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "contract.py").write_text("")
    words = [sys.executable, "-c", program, "gate", str(tmp_path / "contract.py")]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=20)
    assert (ran.returncode, ran.stderr) == (rim.EXIT_INTERRUPTED, "stopped\n")


def test_text_cannot_steer_the_terminal():
    assert shown("a\x1b[31mb\r\n\x07") == "a\\x1b[31mb\\r\\n\\x07"
    assert shown("Zürich 数量") == "Zürich 数量"
    assert shown("\u202eabc") == "\\u202eabc"
    assert shown(None) == ""


def test_a_table_is_aligned_also_with_wide_characters():
    assert table_lines(["name", "units"], [["数量", 5], ["a", 1200]]) == [
        "name  units",
        "----  -----",
        "数量      5",
        "a      1200",
    ]
    assert table_lines(["n"], []) == ["n", "-"]


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    clock = iter(float(number) for number in range(100))
    monkeypatch.setattr("guildbook.cli.terminal.time.monotonic", lambda: next(clock))
    with Terminal().progress("replay, blocks") as progress:
        for done in range(12):
            progress(done, 12)
    assert capsys.readouterr().err == "replay, blocks: 4 of 12\nreplay, blocks: 9 of 12\n"


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("guildbook.cli.terminal._is_terminal", lambda _stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Terminal().progress("replay, blocks") as progress:
        for done in range(13):
            progress(done, 12)
    assert "replay, blocks" in capsys.readouterr().err


def test_what_is_said_on_the_command_line_goes_before_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GUILDBOOK_NODE", str(tmp_path))
    run = CommandLine(capsys)
    ran = run("status", "--url", "http://127.0.0.1:1", "--timeout", "1")
    assert "could not be reached" in ran.err or "client.unreachable" in ran.err
    monkeypatch.setenv("GUILDBOOK_URL", "http://127.0.0.1:1")
    assert "name two ledgers" in run("status").err
