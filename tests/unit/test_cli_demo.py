"""Demonstrations: found when they are asked for, with options from their own declaration."""

import json
import sys
import types
from pathlib import Path

import pytest

from command_line import CommandLine
from guildbook.node import applications


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


SOURCE = '''
"""Tides that come and go.

As often as one likes."""

from pathlib import Path


def run_demo(out_dir: Path, *, seed: int = 7, log: Path | None = None, title: str = "tide", progress=None):
    out_dir.mkdir()
    progress("tides", 1, 2)
    if seed == 13:
        raise KeyboardInterrupt
    if seed == 14:
        raise ValueError("no such tide")
    (out_dir / "summary.json").write_text('{"seed": %d, "title": "%s"}' % (seed, title))
    return seed


def print_summary(summary, console):
    console.print(f"the sea rose by {summary}")
'''


@pytest.fixture
def tides(tmp_path_factory, monkeypatch):
    """An installed application `tides` with a demonstration, and `rocks` without one."""
    package = tmp_path_factory.mktemp("installed") / "shore_app"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "contract.py").write_text("")
    (package / "demo.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(
        applications, "discover", lambda: {"tides": "shore_app.contract:Tides", "rocks": "json.decoder:JSONDecoder"}
    )
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "shore_app"]:
        del sys.modules[name]


def test_a_demonstration_is_found_and_run(run, tides):
    assert "tides" in run.done("demo", "--help").out
    assert "rocks" not in run.done("demo", "--help").out
    ran = run.done("demo", "tides")
    assert ran.out == "the sea rose by 7\n"
    assert json.loads(Path("tides-demo/summary.json").read_text()) == {"seed": 7, "title": "tide"}


def test_its_arguments_are_options(run, tides):
    help_text = run.done("demo", "tides", "--help").out
    assert "Tides that come and go." in help_text
    for option in ("--seed", "--log", "--title", "--out"):
        assert option in help_text
    ran = run.done("demo", "tides", "--seed", 3, "--title", "spring", "--out", "x", "--json")
    assert ran.document == {"application": "tides", "out": "x", "summary": {"seed": 3, "title": "spring"}}
    assert run("demo", "tides", "--seed", "many").status == 2
    assert run("demo", "tides", "--log", "nowhere").status == 2


def test_each_run_has_a_folder_of_its_own(run, tides):
    for name in ("tides-demo", "tides-demo-2", "tides-demo-3"):
        run.done("demo", "tides")
        assert Path(name).is_dir()
    ran = run("demo", "tides", "--out", "tides-demo")
    assert ran.status == 5
    assert "holds something already" in ran.err


@pytest.mark.parametrize(("seed", "status"), [(13, 130), (14, 1)])
def test_a_run_that_ends_early_leaves_nothing(run, tides, tmp_path, seed, status):
    assert run("demo", "tides", "--seed", seed).status == status
    assert not list(tmp_path.iterdir())


def test_an_application_without_a_demonstration_is_no_command(run, tides):
    ran = run("demo", "rocks")
    assert ran.status == 2
    assert "No such command 'rocks'" in ran.err


def test_the_applications_of_this_repository_are_shown(run):
    assert "points" in run.done("demo", "--help").out
    assert isinstance(sys.modules["guildbook_apps.points.demo"], types.ModuleType)
