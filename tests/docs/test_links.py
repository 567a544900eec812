"""Links between pages lead somewhere: to a file of the repository, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<picture>[^)\s]+)\)")
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def pages() -> list[str]:
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/guildbook_apps/*/README.md")]
    return sorted(str(page.relative_to(ROOT)) for page in found)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, made as code hosts make them."""
    headings = re.findall(r"^#{1,6} +(.+?)\s*#*$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_links_of_page_lead_somewhere(page: str) -> None:
    text = _FENCED.sub("", (ROOT / page).read_text("utf-8"))
    broken = []
    for found in _LINK.finditer(text):
        target = found["target"] or found["picture"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            broken.append(target)
    assert not broken


def test_a_heading_has_the_anchor_that_links_to_it_use() -> None:
    assert anchors("# One block format, two engines\n```text\n# no heading\n```\n## `keys` and ids\n") == {
        "one-block-format-two-engines", "keys-and-ids"}
