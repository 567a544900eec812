"""The reference pages that are derived from the program are current."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("cli.md", "errors.md", "contracts.md", "configuration.md", "iso20022.md")


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "scripts" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.pages()
    assert isinstance(pages, dict)
    return pages


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_program_says(built: dict[str, str], name: str) -> None:
    assert set(built) == set(PAGES)
    written = (ROOT / "docs" / "reference" / name).read_text("utf-8")
    assert written == built[name], f"docs/reference/{name} is not current: run make docs"
