"""What the project depends on is declared once, locked with hashes, explained, and free to be passed on."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
RUNTIME_LOCK = ROOT / "requirements.lock"
WHOLE_LOCK = ROOT / "requirements-dev.lock"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s<>=!~;\[]", one, maxsplit=1)[0]) for one in requirements}


def declared() -> dict[str, set[str]]:
    """Names by section of the page: runtime, pictures, build and development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    return {
        "Runtime": names(project["project"]["dependencies"]),
        "Pictures": names(project["project"]["optional-dependencies"]["pictures"]),
        "Build and development": names(groups["build"] + groups["dev"]),
    }


class Locked(NamedTuple):
    """One locked package: its version, and the hashes of its files in order."""

    version: str
    hashes: tuple[str, ...]


def locked(lock: Path) -> dict[str, Locked]:
    """What ``lock`` has for this platform, by name. The form of every line is checked."""
    found: dict[str, Locked] = {}
    text = lock.read_text("utf-8").replace(" \\\n", " ")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        head = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ; ([^\\]+?))?((?: +--hash=sha256:[0-9a-f]{64})+)$", line)
        assert head is not None, f"{lock.name}: {line[:80]}"
        if head[3] is None or Marker(head[3]).evaluate():
            found[head[1]] = Locked(head[2], tuple(sorted(head[4].split())))
    return found


def page() -> dict[str, dict[str, str]]:
    """Locked version by name, by section of docs/reference/dependencies.md."""
    sections: dict[str, dict[str, str]] = {}
    for section in re.split(r"^## ", (ROOT / "docs/reference/dependencies.md").read_text("utf-8"), flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        rows = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9][^ ]*) \| \d{4}-\d{2} \| [^|]+ \| [^|]{20,} \|$", body, re.M)
        assert len(rows) == max(0, body.count("\n|") + body.startswith("|") - 2), f"{title}: a row has another form"
        if rows:
            sections[title.strip()] = dict(rows)
    return sections


def test_the_page_and_the_declaration_have_the_same_names() -> None:
    assert {title: set(rows) for title, rows in page().items()} == declared()


def test_the_page_has_the_locked_versions() -> None:
    versions = {name: one.version for name, one in locked(WHOLE_LOCK).items()}
    for rows in page().values():
        assert rows == {name: versions[name] for name in rows}


def test_what_is_declared_is_locked() -> None:
    sections = declared()
    assert sections["Runtime"] <= set(locked(RUNTIME_LOCK))
    assert set().union(*sections.values()) <= set(locked(WHOLE_LOCK))


def test_what_a_node_runs_with_is_what_was_tested() -> None:
    whole = locked(WHOLE_LOCK)
    assert locked(RUNTIME_LOCK) == {name: whole[name] for name in locked(RUNTIME_LOCK)}


def test_no_test_tool_is_needed_to_run_a_node() -> None:
    assert not set(locked(RUNTIME_LOCK)) & declared()["Build and development"]


@pytest.mark.parametrize("name", sorted(locked(WHOLE_LOCK)))
def test_package_is_installed_as_locked_and_free_to_be_passed_on(name: str) -> None:
    """Guildbook is under Apache-2.0: nothing it stands on may be under a GPL, and nothing without a licence."""
    about = metadata(name)
    assert about["Version"] == locked(WHOLE_LOCK)[name].version
    fields = {field: about[field].strip().partition("\n")[0] for field in ("License-Expression", "License")
              if field in about}
    classifiers = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
    stated = " ".join([fields.get("License-Expression") or fields.get("License", ""), *classifiers]).strip()
    assert stated, f"{name} states no licence"
    assert not re.search(r"GPL|General Public|Business Source|BUSL|SSPL|Commons Clause", stated), stated
