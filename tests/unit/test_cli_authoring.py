"""The gate and new applications, as an author meets them."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from command_line import CommandLine
from guildbook.cli.authoring import check_application_name
from guildbook.primitives.errors import GuildbookError
from page_examples import read_blocks

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "pyproject.toml"


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


def tool(folder: Path, *words: str, **more: str) -> None:
    """Run a tool of Python in `folder`; it must find nothing."""
    ran = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **more}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_deterministic_contract_passes_the_gate(run):
    ran = run.done("gate", ROOT / "tests" / "sample_contract.py")
    assert ran.out == "1 file passed\n"
    assert run.done("gate", ROOT / "tests" / "sample_contract.py", "--json").document == {
        "passed": True,
        "findings": [],
    }


def test_the_gate_says_where_what_and_what_instead(run, tmp_path):
    source = tmp_path / "fees.py"
    source.write_text("import time\n\nRATE = 0.5\n")
    ran = run("gate", source)
    assert ran.status == 2
    assert f"{source}:1:1 import: " in ran.out
    assert f"{source}:3:8 float: " in ran.out
    assert ran.out.splitlines()[-1] == "2 findings"
    told = run("gate", source, "--json")
    assert told.status == 2
    findings = told.document["findings"]
    assert [(one["line"], one["rule"]) for one in findings] == [(1, "import"), (3, "float")]
    assert all(one["instead"] for one in findings)


def test_several_files_pass_the_gate_only_together(run, tmp_path):
    (tmp_path / "bad.py").write_text("RATE = 0.5\n")
    ran = run("gate", ROOT / "tests" / "sample_contract.py", tmp_path / "bad.py")
    assert ran.status == 2
    assert ran.out.splitlines()[-1] == "1 finding"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = 1\x00", b"def f(:\n"])
def test_what_is_no_python_is_refused(run, tmp_path, content):
    (tmp_path / "contract.py").write_bytes(content)
    assert run("gate", tmp_path / "contract.py").status == 2


def test_a_contract_that_is_not_there_is_refused(run, tmp_path):
    ran = run("gate", tmp_path / "nowhere.py")
    assert ran.status == 2
    assert "nowhere.py: No such file or directory" in ran.err


def test_a_new_application_passes_everything_at_once(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run.done("new-app", "loan_book")
    folder = tmp_path / "loan_book"
    assert "guildbook init NODE --app loan_book.contract:LoanBook" in ran.out
    run.done("gate", folder / "contract.py")
    tool(tmp_path, "ruff", "check", "--no-cache", "loan_book")
    tool(
        tmp_path,
        "ruff",
        "format",
        "--no-cache",
        "--check",
        "--line-length",
        "110",
        "--exclude",
        "*.md",
        "loan_book",
    )
    tool(tmp_path, "mypy", "--strict", "--no-incremental", "loan_book")
    tool(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "loan_book")
    conforms = (
        "from pathlib import Path; from guildbook.testing.conformance import bombard, check_application, contract_of;"
        "folder = Path('loan_book'); assert not check_application(folder), check_application(folder);"
        "assert bombard(contract_of(folder), runs=10)"
    )
    subprocess.run([sys.executable, "-c", conforms], check=True)
    example, printed = read_blocks((folder / "README.md").read_text(), "README.md")
    ran_example = subprocess.run(
        [sys.executable, "-c", example.text], capture_output=True, text=True, check=True
    )
    assert ran_example.stdout == printed.text
    manifest = tomllib.loads((folder / "app.toml").read_text())
    assert manifest["contract"] == "loan_book.contract:LoanBook"
    founded = [
        sys.executable,
        "-m",
        "guildbook.cli.main",
        "init",
        "node",
        "--app",
        "loan_book.contract:LoanBook",
    ]
    assert (
        subprocess.run(founded, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False).returncode == 0
    )


def test_a_new_application_of_this_project_is_held_to_its_rules(run, tmp_path, monkeypatch):
    package = tmp_path / "src" / "guildbook_apps"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "guildbook_apps" / "__init__.py", package)
    shutil.copy(CONFIGURATION, tmp_path)
    (tmp_path / "src" / "guildbook").symlink_to(ROOT / "src" / "guildbook")
    monkeypatch.chdir(tmp_path)
    run.done("new-app", "loans")
    tool(tmp_path, "ruff", "check", "--no-cache", "src/guildbook_apps")
    tool(
        tmp_path,
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--no-incremental",
        "src/guildbook_apps/loans/contract.py",
    )
    tool(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "src/guildbook_apps/loans", PYTHONPATH="src")
    manifest = tomllib.loads((package / "loans" / "app.toml").read_text())
    assert manifest["contract"] == "guildbook_apps.loans.contract:Loans"
    assert set(manifest) <= set(tomllib.loads((ROOT / "src/guildbook_apps/points/app.toml").read_text()))


def test_a_new_application_overwrites_nothing(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loans").mkdir()
    ran = run("new-app", "loans")
    assert ran.status == 5
    assert "loans exists already" in ran.err
    assert run("new-app", "loans", "--folder", tmp_path / "other").status == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["loans"]


def test_a_failed_write_leaves_no_half_an_application(run, tmp_path, monkeypatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", "contract.py")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    ran = run("new-app", "loans")
    assert ran.status == 5
    assert "no room is left" in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["Loans", "loan-book", "2nd", "", "class", "record", "contract", "x" * 41, "../x", "a b"]
)
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(GuildbookError) as caught:
        check_application_name(name)
    assert caught.value.code == "identifier.malformed"
