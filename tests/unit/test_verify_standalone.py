"""The stand-alone verifier gives the same verdicts with nothing installed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import guildbook
from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.format import SEAL_SIZE_BYTES, seal
from guildbook.evidence.report import as_json
from guildbook.evidence.standalone import MODULES, build_standalone, write_standalone
from guildbook.evidence.trust import format_trust
from guildbook.evidence.verify import verify
from simulated_ledger import TABLE, busy_ledger, row_key


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Python without the environment, the user's packages and the installed ones."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standalone")
    write_standalone(folder)
    (folder / "trust.json").write_bytes(format_trust(busy_ledger({1: 10, 2: 10, 3: 10}).trust()))
    return folder


def test_the_interpreter_of_this_test_sees_no_installed_package() -> None:
    assert run("-c", "import msgspec").returncode != 0


def test_every_kind_gets_the_verdict_of_the_package(folder: Path) -> None:
    ledger = busy_ledger({1: 10, 2: 10, 3: 10})
    for data in (
        receipt_evidence(ledger, ledger.transactions()[17]),
        row_evidence(ledger, TABLE, row_key(3)),
        row_evidence(ledger, TABLE, row_key(20)),
        range_evidence(ledger, TABLE),
    ):
        (folder / "a.evidence").write_bytes(data)
        done = run(
            folder / "guildbook-verify.pyz", folder / "a.evidence", "--trust", folder / "trust.json", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(json.dumps(as_json(verify(data, ledger.trust()))))


def test_a_false_signature_is_refused_by_the_reference_too(folder: Path) -> None:
    ledger = busy_ledger({1: 10, 2: 10, 3: 10})
    data = receipt_evidence(ledger, ledger.transactions()[17])
    signature = ledger.chain.commit(5).signatures[2].signature
    forged = data.replace(signature, signature[:-1] + bytes((signature[-1] ^ 1,)))
    (folder / "b.evidence").write_bytes(seal(forged[:-SEAL_SIZE_BYTES]))
    done = run(folder / "guildbook-verify.pyz", folder / "b.evidence", "--trust", folder / "trust.json")
    assert done.returncode == 6
    assert "(commit) failed" in done.stdout
    assert done.stderr == ""


def test_the_verifier_imports_primitives_and_two_libraries_only() -> None:
    """Whoever reads the modules of the archive has read all that takes part in a verdict."""
    program = (
        "import sys; before = set(sys.modules); import guildbook.evidence.__main__;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = done.stdout.split()
    own = {name.replace(".", "/") for name in loaded if name.split(".")[0] == "guildbook"}
    archived = {f"guildbook/{module}".removesuffix("/__init__") for module in MODULES}
    assert own == archived - {"guildbook/evidence/reference_ed25519"}  # stands for ed25519_zebra there
    package = Path(guildbook.__file__).parent
    named: set[str] = set()
    for module in MODULES:
        for node in ast.walk(ast.parse((package / f"{module}.py").read_text("utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named.add(str(node.module).split(".")[0])
    assert named - set(sys.stdlib_module_names) - {"guildbook"} == {"msgspec", "ed25519_zebra"}


def test_two_builds_are_the_same_bytes(folder: Path) -> None:
    assert build_standalone() == build_standalone() == (folder / "guildbook-verify.pyz").read_bytes()


def test_the_archive_holds_the_packages_own_sources(folder: Path) -> None:
    package = Path(guildbook.__file__).parent
    with zipfile.ZipFile(folder / "guildbook-verify.pyz") as archive:
        names = archive.namelist()
        for name in names:
            if name.startswith("guildbook/"):
                assert archive.read(name) == (package.parent / name).read_bytes()
    assert {name for name in names if not name.startswith("guildbook/")} == {
        "__main__.py",
        "ed25519_zebra.py",
        "msgspec.py",
    }
