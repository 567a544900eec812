"""The same blocks give the same roots and receipts, whatever machine settings the process finds.

Members' machines differ in hash seed, time zone, language, encoding, working directory and recursion limit. The
same run is made in separate processes under each of these, and every block's app hash and receipts are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import guildbook_apps
from guildbook.testing.determinism import assert_runs_alike

APPLICATIONS = Path(guildbook_apps.__file__).parent
WORKLOADS = sorted(
    one.parent.name for one in APPLICATIONS.glob("*/workload.py") if "\ndef run(" in one.read_text("utf-8")
)
TESTS = Path(__file__).parents[1]
SECONDS_MAX = 60

PROGRAM = """
import hashlib
import sys

sys.path.insert(0, sys.argv[1])
if len(sys.argv) > 2:
    sys.setrecursionlimit(int(sys.argv[2]))

from sample_contract import Units

from guildbook.testing import TestLedger

ledger = TestLedger(Units, actors={"mint/till": ["units:issuer"], "market/anna": [], "market/bo": []})
till, anna, bo = (ledger.actor(name) for name in ("mint/till", "market/anna", "market/bo"))
accounts = [f"account-{number}" for number in range(9)]
state = 1
for number in range(30):
    with ledger.block():
        for turn in range(8):
            state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
            draw = state >> 33
            source, target = accounts[draw % 9], accounts[draw // 9 % 9]
            if draw % 5 == 0:
                till.units.issue(to=target, units=draw % 40 + 1)
            elif draw % 31 == 1:
                bo.units.divide(dividend=draw, divisor=draw % 2)
            elif draw % 7 == 1:
                anna.units.issue(to=target, units=1)
            elif source != target:
                (anna, bo)[turn % 2].units.move(source=source, target=target, units=draw % 12 + 1)
    block = ledger.last_block
    print(block.app_hash.hex(), hashlib.sha256(b"".join(block.receipts)).hexdigest(), len(block.receipts))
"""


def run(directory: Path, settings: Mapping[str, str] | None = None, *arguments: str,
        options: tuple[str, ...] = ()) -> list[str]:
    """What the program prints, a line a block, in a process with these settings and no others."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "PYTHONHASHSEED": "0",
                   **(settings or {})}
    done = subprocess.run([sys.executable, *options, "-c", PROGRAM, str(TESTS), *arguments], cwd=directory,
                          env=environment, capture_output=True, text=True, check=True, timeout=SECONDS_MAX)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return run(tmp_path_factory.mktemp("plain"))


def test_the_run_does_something_in_every_block(plain: list[str]) -> None:
    assert len({line.split()[0] for line in plain}) == 30
    assert all(int(line.split()[2]) > 0 for line in plain)


@pytest.mark.parametrize("seed", ["1", "4711", "4294967295"])
def test_the_hash_seed_changes_nothing(plain: list[str], seed: str, tmp_path: Path) -> None:
    assert run(tmp_path, {"PYTHONHASHSEED": seed}) == plain


@pytest.mark.parametrize("settings", [
    {"TZ": "Asia/Shanghai"},
    {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    {"PYTHONINTMAXSTRDIGITS": "640"},
    {"PYTHONDEVMODE": "1"},
], ids=lambda settings: " ".join(settings))
def test_settings_of_the_process_change_nothing(plain: list[str], settings: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, settings) == plain


def test_the_recursion_limit_changes_nothing(plain: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, None, "5000") == plain


def test_options_of_the_interpreter_change_nothing(plain: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, options=("-P", "-s", "-B")) == plain


def test_an_application_with_a_workload_is_among_those_that_are_run() -> None:
    assert "points" in WORKLOADS


@pytest.mark.parametrize("application", WORKLOADS)
def test_the_workload_of_an_application_is_the_same_everywhere(application: str) -> None:
    """A difference is told as block, transaction, row and field."""
    assert_runs_alike("guildbook.testing.determinism:workload", [f"guildbook_apps.{application}.workload", "8"])
