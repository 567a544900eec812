"""Rules about the repository as a whole, which no single file can break unseen.

The direction of imports is in `pyproject.toml` and checked by import-linter; docstrings, names and the like are
ruff's. Here is what neither of them can say.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "guildbook"
PURE_LAYERS = ("primitives", "state", "contract", "runtime", "chain", "foundation")
MEETS_THE_DISK = "state/rocks.py"

NOT_OURS = tuple("".join(parts) for parts in [
    ("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("py", "pi.org"), ("python", "hosted"), ("crates", ".io"),
    ("registry.", "npmjs"), ("proxy.", "golang"), ("deb.", "debian.org"), ("repo1.", "maven"),
])
"""Paths of one machine and hosts of registries, written apart so that this file does not contain them."""

UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "HA" + "CK"]) + r")\b")


@cache
def files() -> list[Path]:
    """All files of the repository that git keeps or would keep."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the list of its files is not known")
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True).stdout.decode()
    return [path for path in (ROOT / name for name in listed.split("\0") if name) if path.is_file()]


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def test_no_file_names_a_path_of_one_machine_or_a_registry() -> None:
    found = []
    for path in files():
        content = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in NOT_OURS if word in content]
    assert not found


def test_nothing_is_marked_as_unfinished() -> None:
    found = []
    for path in files():
        if path.suffix in {".py", ".sql", ".md", ".toml", ".js", ".css", ".html"}:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if UNFINISHED.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_no_module_is_a_drawer_for_the_rest() -> None:
    nouns = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert not [path for path in files() if path.name in nouns]


def test_test_files_have_different_names() -> None:
    """Tests are imported by file, without packages, so a name may occur once."""
    names = Counter(path.name for path in files() if re.fullmatch(r"test_.*\.py", path.name))
    assert not [name for name, count in names.items() if count > 1]


def test_tests_are_no_packages() -> None:
    assert not [path for path in files() if path.name == "__init__.py" and "tests" in path.relative_to(ROOT).parts]


def test_every_decision_is_in_the_index() -> None:
    decisions = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    assert re.findall(r"\]\(([0-9][^)]*\.md)\)", index) == decisions
    assert [name[:4] for name in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]


def test_the_version_is_one() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    written = re.search(r'__version__ = "([^"]+)"', (SOURCE / "__init__.py").read_text("utf-8"))
    assert written is not None
    assert written[1] == declared
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] in {declared, "Unreleased"}


def test_every_make_target_has_a_line_in_the_list() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert set(phony[1].split()) == targets
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert targets - described == {"lint", "types", "imports"}, "parts of `make check`"


def float_uses(path: Path) -> list[str]:
    """Where the module has a float literal, a true division, or a conversion to float."""
    found = []
    for node in ast.walk(tree(path)):
        if (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)) \
                or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)) \
                or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def unordered_uses(path: Path) -> list[str]:
    """Where the module goes through a set that it makes on the spot, or asks Python for a hash."""
    found = []

    def is_set(node: ast.expr) -> bool:
        return isinstance(node, ast.Set | ast.SetComp) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"})

    for node in ast.walk(tree(path)):
        walked: list[ast.expr] = []
        if isinstance(node, ast.For | ast.comprehension):
            walked = [node.iter]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"list", "tuple", "iter", "enumerate", "dict", "next"}:
                walked = node.args[:1]
            elif node.func.id == "hash":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            walked = node.args[:1]
        found += [f"{path.relative_to(ROOT)}:{one.lineno}" for one in walked if is_set(one)]
    return found


def clock_uses(path: Path) -> list[str]:
    """Where the module asks a class of `datetime` for the present."""
    return [f"{path.relative_to(ROOT)}:{node.lineno}" for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr in {"now", "today", "utcnow", "fromtimestamp"}
            and isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date"}]


@pytest.mark.parametrize("uses", [float_uses, unordered_uses, clock_uses])
def test_the_core_has_no_floats_no_set_order_and_no_clock(uses) -> None:
    core = [path for layer in PURE_LAYERS for path in sources(SOURCE / layer)]
    assert core
    assert not [use for path in core if path != SOURCE / MEETS_THE_DISK for use in uses(path)]


@pytest.mark.parametrize(("uses", "line"), [
    (float_uses, "half = 0.5"),
    (float_uses, "half = units / 2"),
    (float_uses, "units /= 2"),
    (float_uses, "half = float(units)"),
    (unordered_uses, "for name in {'a', 'b'}: pass"),
    (unordered_uses, "names = [name for name in set(names)]"),
    (unordered_uses, "names = tuple(frozenset(names))"),
    (unordered_uses, "text = ', '.join({name for name in names})"),
    (unordered_uses, "order = hash(name)"),
    (clock_uses, "now = datetime.now()"),
])
def test_the_check_of_the_core_sees(uses, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(line + "\n")
    assert uses(path) == ["module.py:1"]


def test_the_verifier_of_evidence_loads_the_primitives_alone() -> None:
    """Importing it loads no other layer, whatever the packages above it import."""
    program = "import guildbook.evidence.verify, sys; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    loaded = {name for name in answer.split() if name.split(".")[0] == "guildbook"}
    assert "guildbook.evidence.verify" in loaded
    layers = {name.split(".")[1] for name in loaded if "." in name}
    assert layers == {"evidence", "primitives"}
