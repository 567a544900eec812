"""`scripts/setup` makes, keeps and mends .venv, and never takes an unfinished one for a finished one.

The script runs for real; the interpreter is a stand-in that notes what it is asked for, so nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "cp", "cut", "dirname", "env", "flock", "grep", "mkdir", "rm", "sed", "sha256sum", "sleep")

STAND_IN = r"""#!/usr/bin/env bash
echo "$*" >> "$NOTES"
case "$1 $2" in
  "-c "*) exit "${UNFIT:-0}" ;;
  "--version "*) echo "Python 3.11.99" ;;
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip")
    case "$*" in *--requirement*)
      echo "Collecting anyio==4.16.0"
      if [ -n "${SLEEP:-}" ]; then sleep "$SLEEP"; fi
      exit "${FETCH:-0}" ;;
    esac ;;
esac
"""


class Project:
    """A copy of what setup reads, and how often each of its steps ran in the last run."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "project"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "setup", self.root / "scripts" / "setup")
        for name in ("requirements-dev.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        tools = directory / "tools"
        tools.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            if found is not None:
                (tools / tool).symlink_to(found)
        (tools / "python3.11").write_text(STAND_IN)
        (tools / "python3.11").chmod(0o755)
        self.notes = directory / "notes"
        self.environment = {"PATH": str(tools), "HOME": str(directory), "NOTES": str(self.notes)}

    def start(self, **extra: str) -> subprocess.Popen[str]:
        self.notes.write_text("")
        return subprocess.Popen(["bash", "scripts/setup"], cwd=self.root, env=self.environment | extra, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                start_new_session=True)

    def run(self, **extra: str) -> tuple[int, str]:
        process = self.start(**extra)
        printed, _ = process.communicate(timeout=240)
        return process.returncode, printed

    @property
    def steps(self) -> dict[str, int]:
        notes = self.notes.read_text()
        return {"new": notes.count("-m venv"), "packages": notes.count("--requirement"),
                "project": notes.count("--editable")}

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "guildbook-stamp"


ALL = {"new": 1, "packages": 1, "project": 1}
NOTHING = {"new": 0, "packages": 0, "project": 0}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def made(project: Project) -> Project:
    assert project.run()[0] == 0
    return project


def test_the_first_run_makes_everything_and_says_so(project: Project) -> None:
    status, printed = project.run()
    assert status == 0
    assert project.steps == ALL
    assert [part for part in ("1/3", "2/3", "3/3", "done: Python 3.11.99") if part not in printed] == []


def test_a_second_run_does_nothing(made: Project) -> None:
    assert made.run() == (0, "")
    assert made.steps == NOTHING


def test_a_changed_lock_changes_packages_in_place(made: Project) -> None:
    with (made.root / "requirements-dev.lock").open("a") as lock:
        lock.write("# another\n")
    assert made.run()[0] == 0
    assert made.steps == {"new": 0, "packages": 1, "project": 1}
    assert made.run() == (0, "")


def test_a_changed_declaration_needs_no_network(made: Project) -> None:
    with (made.root / "pyproject.toml").open("a") as declaration:
        declaration.write("# another\n")
    assert made.run()[0] == 0
    assert made.steps == {"new": 0, "packages": 0, "project": 1}
    assert made.run() == (0, "")


def test_an_environment_made_by_other_means_is_made_anew(made: Project) -> None:
    made.stamp.unlink()
    status, printed = made.run()
    assert status == 0
    assert "making it anew" in printed
    assert made.steps == ALL


def test_a_moved_project_gets_a_new_environment(made: Project) -> None:
    made.root = made.root.rename(made.root.parent / "moved")
    assert made.run()[0] == 0
    assert made.steps == ALL


def test_an_environment_without_its_interpreter_is_made_anew(made: Project) -> None:
    (made.root / ".venv" / "bin" / "python").unlink()
    assert made.run()[0] == 0
    assert made.steps == ALL


def test_without_a_usable_python_it_says_what_to_install(project: Project) -> None:
    status, printed = project.run(UNFIT="1")
    assert status == 1
    assert "3.11, 3.12 or 3.13" in printed
    assert "apt-get install python3 python3-venv" in printed
    assert not (project.root / ".venv").exists()


def test_a_python_that_is_named_but_unfit_is_refused_by_name(project: Project) -> None:
    status, printed = project.run(PYTHON="/nowhere/python3.9")
    assert status == 1
    assert "tried: /nowhere/python3.9" in printed


@pytest.mark.parametrize("earlier", ["fresh", "older lock"])
def test_a_failed_fetch_is_not_taken_for_done(project: Project, earlier: str) -> None:
    if earlier == "older lock":
        assert project.run()[0] == 0
        with (project.root / "requirements-dev.lock").open("a") as lock:
            lock.write("# another\n")
    status, printed = project.run(FETCH="1")
    assert status == 1
    assert "could not be fetched" in printed
    assert not project.stamp.exists()
    assert project.run()[0] == 0
    assert project.steps == ALL


def test_an_interrupted_run_is_not_taken_for_done(project: Project) -> None:
    process = project.start(SLEEP="30")
    while "--requirement" not in project.notes.read_text():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "interrupted" in printed
    assert not project.stamp.exists()
    assert project.run()[0] == 0
    assert project.steps == ALL


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock two runs are not kept apart")
def test_two_runs_at_once_make_one_environment(project: Project) -> None:
    first = project.start(SLEEP="2")
    while "--requirement" not in project.notes.read_text():
        time.sleep(0.02)
    second = subprocess.run(["bash", "scripts/setup"], cwd=project.root, env=project.environment, text=True,
                            capture_output=True, check=False, timeout=240)
    assert first.wait(timeout=240) == 0
    assert first.communicate()[0]
    assert second.returncode == 0
    assert "waiting for it" in second.stdout
    assert project.steps == ALL
