"""Every example in the README and in docs runs, by the rules of `page_examples`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from page_examples import PageError, matches, read_blocks, run_page

ROOT = Path(__file__).parents[2]


def pages() -> list[str]:
    """README.md, the pages below docs and those of the applications, as paths from the root."""
    found = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/guildbook_apps/*/README.md")]
    return sorted(str(page.relative_to(ROOT)) for page in found if page.exists())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", pages())
def test_examples_of_page_run(page: str, tmp_path: Path) -> None:
    run_page(page, (ROOT / page).read_text("utf-8"), tmp_path / "page")


def fence(language: str, *lines: str) -> str:
    return "\n".join(["```" + language, *lines, "```", ""])


def test_python_blocks_share_names_and_their_output_is_compared(tmp_path: Path) -> None:
    text = fence("python", "units = 40") + "prose\n" + fence("python", "print('units', units + 2)") \
        + fence("output", "units 42")
    assert run_page("page.md", text, tmp_path / "page") == 2


def test_a_class_of_a_python_block_has_its_source(tmp_path: Path) -> None:
    text = fence("python", "import inspect", "class Lot:", "    units = 1", "print(inspect.getsource(Lot))") \
        + fence("output", "class Lot:", "units = 1")
    assert run_page("page.md", text, tmp_path / "page") == 1


def test_a_failing_python_block_names_page_and_line(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"page\.md:4: this block fails") as caught:
        run_page("page.md", "# Title\n\n" + fence("python", "x = 1", "assert x == 2"), tmp_path / "page")
    assert "line 5" in str(caught.value)


def test_wrong_output_of_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="printed"):
        run_page("page.md", fence("python", "print(1)") + fence("output", "2"), tmp_path / "page")


def test_a_python_block_that_ends_the_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="ended the interpreter"):
        run_page("page.md", fence("python", "import os", "os._exit(0)"), tmp_path / "page")


def test_directory_and_variables_carry_over_between_console_blocks(tmp_path: Path) -> None:
    text = fence("console", "$ mkdir shop && cd shop", "$ export COLOUR='deep blue'") \
        + fence("console", "$ basename $PWD", "shop", "$ echo \"$COLOUR\"", "deep blue")
    assert run_page("page.md", text, tmp_path / "page") == 2


def test_files_of_a_page_are_there_for_its_commands(tmp_path: Path) -> None:
    text = fence("toml file=shop/app.toml", "units = 1") + fence("console", "$ cat shop/app.toml", "units = 1")
    assert run_page("page.md", text, tmp_path / "page") == 1


def test_wrong_output_of_a_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"page\.md:2: `echo one` printed"):
        run_page("page.md", fence("console", "$ echo one", "two"), tmp_path / "page")


def test_a_command_that_fails_is_refused_unless_the_page_says_so(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="has exit status 3, not 0"):
        run_page("page.md", fence("console", "$ (exit 3)"), tmp_path / "first")
    assert run_page("page.md", fence("console", "$ (exit 3)  # exit status 3"), tmp_path / "second") == 1


def test_a_command_over_several_lines(tmp_path: Path) -> None:
    assert run_page("page.md", fence("console", "$ printf '%s-' \\", "> a b", "a-b-"), tmp_path / "page") == 1


def test_what_a_page_leaves_running_is_ended(tmp_path: Path) -> None:
    text = fence("console", "$ sleep 300 & echo $! > pid")
    run_page("page.md", text, tmp_path / "page")
    process = int((tmp_path / "page" / "here" / "pid").read_text())
    for _ in range(100):
        if not running(process):
            break
        time.sleep(0.05)
    assert not running(process)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] not in {"X", "Z"}
    except FileNotFoundError:
        return False


def test_a_block_is_left_out_only_with_a_reason(tmp_path: Path) -> None:
    left_out = "<!-- not run: needs a second machine -->\n" + fence("console", "$ false")
    assert run_page("page.md", left_out, tmp_path / "page") == 0
    with pytest.raises(PageError, match="say why"):
        read_blocks("<!-- not run: -->\n" + fence("console", "$ false"), "page.md")


def test_the_reason_holds_for_one_block(tmp_path: Path) -> None:
    text = "<!-- not run: slow -->\n" + fence("console", "$ false") + fence("console", "$ false")
    with pytest.raises(PageError, match="exit status 1"):
        run_page("page.md", text, tmp_path / "page")


def test_shell_in_another_fence_is_refused() -> None:
    with pytest.raises(PageError, match="would not be run"):
        read_blocks(fence("bash", "make demo"), "page.md")


def test_a_block_without_end_is_refused() -> None:
    with pytest.raises(PageError, match=r"page\.md:1: this block has no end"):
        read_blocks("```python\nx = 1\n", "page.md")


@pytest.mark.parametrize(("expected", "printed", "verdict"), [
    (["a", "b"], "a\nb\n", True),
    (["a"], "a\nb\n", False),
    (["a", "..."], "a\nb\nc\n", True),
    (["...", "c"], "a\nb\nc\n", True),
    (["...", "b"], "a\nb\nc\n", False),
    (["height ... root ..."], "height 7  root 1f2e\n", True),
    (["a  b"], "a    b  \n\n", True),
    (["..."], "", True),
    (["..."], "\x1b[1mbold\x1b[0m\n", True),
    (["bold"], "\x1b[1mbold\x1b[0m\n", True),
    (["a.c"], "abc\n", False),
])
def test_output_is_compared_loosely_and_only_so(expected: list[str], printed: str, verdict: bool) -> None:
    assert matches(expected, printed) is verdict
