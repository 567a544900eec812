"""Runs the examples of a Markdown page, so that no page shows what does not work.

How to write an example:

* ```` ```python ````: run. All such blocks of a page share one interpreter and one set of names, from top to
  bottom.
* ```` ```output ````, right behind a python block: what it printed.
* ```` ```console ````: a line that starts with ``$ `` is a command for bash, ``> `` continues it, and the lines
  below are its output. Without any, only success is asked for. A command that ends in ``# exit status 2`` has to
  end so. Directory and exported variables carry over from block to block; ``guildbook`` is on the path.
* ```` ```toml file=shop/app.toml ```` (any language): written to that file and not run.
* ``<!-- not run: the reason -->`` on the line above a block leaves it out. Without a reason it is refused.

Other languages are text for people. Shell in any fence but ``console`` is refused, for it would not be run.

Output is compared line by line. Runs of blanks count as one, ``...`` stands for any text within a line and,
alone on a line, for any lines. Python and console blocks of a page work in one new, empty directory, with a home
of their own. What a page leaves running in the background is ended with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, NamedTuple

COMMAND_SECONDS_MAX = 240
PYTHON_BLOCK_SECONDS_MAX = 240
LANGUAGES_NOT_ALLOWED = frozenset({"bash", "sh", "shell", "zsh", "shell-session", "pycon", "py"})

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_NOT_RUN = re.compile(r"^\s*<!--\s*not run:?(?P<reason>.*?)-->\s*$")
_EXIT_STATUS = re.compile(r"\s+# exit status (\d+)$")
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class PageError(AssertionError):
    """An example that does not hold, with the page and the line where it stands."""


class Block(NamedTuple):
    """A fenced block: its language, file name ("" for none) and text, and where that begins (line, 1 up)."""

    language: str
    file: str
    text: str
    line: int
    not_run: bool


class Command(NamedTuple):
    """A command of a console block, the exit status it has to have, and its output (None when not shown)."""

    text: str
    status: int
    expected: list[str] | None
    line: int


def read_blocks(text: str, page: str) -> list[Block]:
    """The fenced blocks of a page in order. Raises PageError for a fence that breaks the rules above."""
    blocks: list[Block] = []
    lines = text.splitlines()
    number = 0
    above = ""
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            above = lines[number] if lines[number].strip() else above
            number += 1
            continue
        start = number
        indent, ticks = len(opened["indent"]), opened["ticks"]
        number += 1
        body: list[str] = []
        while number < len(lines) and lines[number].strip() != ticks:
            line = lines[number]
            body.append(line[indent:] if line[:indent].isspace() else line)
            number += 1
        if number == len(lines):
            raise PageError(f"{page}:{start + 1}: this block has no end")
        number += 1
        language, _, rest = opened["info"].strip().partition(" ")
        file = rest.strip().removeprefix("file=") if rest.strip().startswith("file=") else ""
        note = _NOT_RUN.match(above)
        if note is not None and not note["reason"].strip():
            raise PageError(f"{page}:{start}: say why: <!-- not run: the reason -->")
        if language in LANGUAGES_NOT_ALLOWED and note is None and not file:
            raise PageError(f"{page}:{start + 1}: `{language}` would not be run; write `console` with `$ ` before "
                            "each command, or `python`")
        blocks.append(Block(language, file, "\n".join(body) + "\n", start + 2, note is not None))
        above = ""
    return blocks


def read_commands(block: Block, page: str) -> list[Command]:
    """The commands of a console block. Raises PageError when it does not begin with one."""
    commands: list[Command] = []
    for offset, line in enumerate(block.text.splitlines()):
        where = block.line + offset
        if line.startswith("$ "):
            commands.append(Command(line[2:], 0, None, where))
        elif not commands:
            if line.strip():
                raise PageError(f"{page}:{where}: a console block begins with a command: `$ ...`")
        elif line.startswith("> ") and commands[-1].expected is None:
            commands[-1] = commands[-1]._replace(text=commands[-1].text + "\n" + line[2:])
        else:
            commands[-1] = commands[-1]._replace(expected=[*(commands[-1].expected or []), line])
    return [_with_status(command) for command in commands]


def _with_status(command: Command) -> Command:
    found = _EXIT_STATUS.search(command.text)
    expected = command.expected
    if expected is not None and not any(line.strip() for line in expected):
        expected = None
    if found is None:
        return command._replace(expected=expected)
    return command._replace(text=command.text[:found.start()], status=int(found[1]), expected=expected)


def _plain(line: str) -> str:
    return " ".join(_ESCAPE_SEQUENCE.sub("", line).split())


def matches(expected: list[str], printed: str) -> bool:
    """Whether ``printed`` is what ``expected`` shows, with ``...`` for what may be anything."""
    wanted = [line for line in map(_plain, expected) if line]
    got = [line for line in map(_plain, printed.splitlines()) if line]
    patterns = [None if line == "..." else re.compile(".*".join(map(re.escape, line.split("..."))))
                for line in wanted]
    reachable = {0}  # how many lines of `got` the patterns so far may have used
    for pattern in patterns:
        if pattern is None:
            reachable = set(range(min(reachable), len(got) + 1)) if reachable else set()
        else:
            reachable = {at + 1 for at in reachable if at < len(got) and pattern.fullmatch(got[at])}
    return len(got) in reachable


_DRIVER = r'''
import contextlib, io, json, sys, traceback, types
answers = sys.stdout
file = sys.argv[1]
page = types.ModuleType("page")
page.__file__ = file
sys.modules["page"] = page
for request in sys.stdin:
    wanted = json.loads(request)
    with open(file, "w", encoding="utf-8") as source:
        source.write(wanted["source"])
    printed = io.StringIO()
    failure = ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile("\n" * (wanted["line"] - 1) + wanted["block"], file, "exec"), page.__dict__)
        except BaseException:
            failure = traceback.format_exc()
    answers.write(json.dumps([printed.getvalue(), failure]) + "\n")
    answers.flush()
'''


class PageRun:
    """One page's examples at work in ``directory``. Close it: it ends what the page left running."""

    def __init__(self, page: str, directory: Path) -> None:
        self._page = page
        self._directory = directory
        self._home = directory / "home"
        self._home.mkdir(parents=True)
        self._here = directory / "here"
        self._here.mkdir()
        self._groups: list[int] = []
        self._python: subprocess.Popen[str] | None = None
        self._python_source: list[str] = []
        self._carried = directory / "carried.sh"
        self._carried.write_text(f"cd {self._here}\n")
        kept = {name: value for name, value in os.environ.items()
                if name in {"GUILDBOOK_SHARED", "TMPDIR", "LD_LIBRARY_PATH"}}
        self._environment = kept | {
            "COLUMNS": "120", "HOME": str(self._home), "LANG": "C.UTF-8", "NO_COLOR": "1", "TERM": "dumb",
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> PageRun:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._python is not None:
            self._groups.append(self._python.pid)
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if self._python is not None:
            self._python.wait()
            for pipe in (self._python.stdin, self._python.stdout):
                if pipe is not None:
                    pipe.close()

    def run(self, text: str) -> int:
        """Run all examples of the page ``text``; gives how many ran. Raises PageError for one that fails."""
        ran = 0
        printed: str | None = None
        for block in read_blocks(text, self._page):
            if block.language == "output":
                if printed is None:
                    raise PageError(f"{self._page}:{block.line}: output without a python block before it")
                self._compare(block.text.splitlines(), printed, block.line, "the block above")
                printed = None
                continue
            printed = None
            if block.not_run:
                continue
            if block.file:
                target = self._here / block.file
                if not target.resolve().is_relative_to(self._here.resolve()):
                    raise PageError(f"{self._page}:{block.line}: {block.file} is not below the page's directory")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, "utf-8")
            elif block.language == "python":
                printed = self._run_python(block)
                ran += 1
            elif block.language == "console":
                self._run_console(read_commands(block, self._page))
                ran += 1
        return ran

    def _compare(self, expected: list[str], printed: str, line: int, what: str) -> None:
        if not matches(expected, printed):
            raise PageError(f"{self._page}:{line}: {what} printed\n\n{printed}\nand the page shows\n\n"
                            + "\n".join(expected))

    def _run_python(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _DRIVER, str(self._directory / "page.py")], cwd=self._here, text=True,
                env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        lines = self._python_source
        lines.extend([""] * (block.line - 1 - len(lines)))
        lines.extend(block.text.splitlines())
        request = {"line": block.line, "block": block.text, "source": "\n".join(lines) + "\n"}
        to_python, from_python = self._python.stdin, self._python.stdout
        assert to_python is not None
        assert from_python is not None
        to_python.write(json.dumps(request) + "\n")
        to_python.flush()
        answer = _line_within(from_python, PYTHON_BLOCK_SECONDS_MAX)
        if not answer:
            raise PageError(f"{self._page}:{block.line}: this block ended the interpreter, or ran for more "
                            f"than {PYTHON_BLOCK_SECONDS_MAX} s")
        printed, failure = json.loads(answer)
        if failure:
            raise PageError(f"{self._page}:{block.line}: this block fails\n\n{printed}{failure}")
        return str(printed)

    def _run_console(self, commands: list[Command]) -> None:
        for command in commands:
            output = self._directory / "output"
            script = (f"source {self._carried}\nset -o pipefail\n{command.text}\nstatus=$?\n"
                      f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {self._carried}\nexit $status\n")
            with output.open("wb") as sink:
                shell = subprocess.Popen(["bash", "--noprofile", "--norc", "-c", script], cwd=self._here,
                                         env=self._environment, stdin=subprocess.DEVNULL, stdout=sink,
                                         stderr=subprocess.STDOUT, start_new_session=True)
                self._groups.append(shell.pid)
                try:
                    status: int | str = shell.wait(COMMAND_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    status = f"none after {COMMAND_SECONDS_MAX} s"
            printed = output.read_text("utf-8", errors="replace")
            if status != command.status:
                raise PageError(f"{self._page}:{command.line}: `{command.text}` has exit status {status}, "
                                f"not {command.status}\n\n{printed}")
            if command.expected is not None:
                self._compare(command.expected, printed, command.line, f"`{command.text}`")


def _line_within(stream: IO[str], seconds: int) -> str:
    """The next line of ``stream``, or "" when it ends or no line comes in time."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else ""


def run_page(page: str, text: str, directory: Path) -> int:
    """Run the examples of ``text`` in ``directory``, which is to be empty; gives how many ran."""
    with PageRun(page, directory) as run:
        return run.run(text)
