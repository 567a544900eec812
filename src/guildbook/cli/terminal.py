"""What a command says, and where.

Answers go to standard output: sentences and tables for people, or with ``--json`` exactly one JSON document.
Everything else (progress, notes, errors for people) goes to standard error, so that an answer can be piped. A
progress bar is drawn only on a terminal; elsewhere a plain line comes every few seconds. Text from a ledger may hold
any character, so what a terminal would obey is written as an escape; a character that the terminal's encoding lacks
is written as one too.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar

if TYPE_CHECKING:
    from guildbook.client.documents import ReceiptDocument

PLAIN_LINE_EVERY_S = 5.0
"""How often progress is told where no bar can be drawn."""
BAR_EVERY_S = 0.1

Progress = Callable[[int, int], None]
"""Told (done, total) as work goes on."""
Stages = Callable[[str, int, int], None]
"""Told (stage, done, total) as work of several stages goes on."""


def shown(value: Any) -> str:
    """``value`` as one line of text in which nothing steers the terminal."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def shown_lines(text: str) -> str:
    """Several lines of text, each of them as ``shown``."""
    return "\n".join(shown(line) for line in text.split("\n"))


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table with aligned columns: names, a rule, one line for each row; numbers stand to the right."""
    cells = [[shown(value) for value in row] for row in rows]
    kinds = [
        all(isinstance(row[place], int) and not isinstance(row[place], bool) for row in rows)
        if isinstance(rows, (list, tuple)) and rows
        else False
        for place in range(len(columns))
    ]
    names = [shown(one) for one in columns]
    widths = [
        max([cell_len(name), *(cell_len(row[place]) for row in cells)]) for place, name in enumerate(names)
    ]

    def line(row: Sequence[str]) -> str:
        parts = []
        for text, width, number in zip(row, widths, kinds, strict=True):
            blank = " " * (width - cell_len(text))
            parts.append(blank + text if number else text + blank)
        return "  ".join(parts).rstrip()

    return [line(names), "  ".join("-" * width for width in widths), *(line(row) for row in cells)]


class Terminal:
    """Where a command's answer, notes and progress go."""

    def __init__(self) -> None:
        self.as_json = False
        self.debug = False

    # answers ---------------------------------------------------------------------------------------------------

    def answer(self, document: Any, text: str | Iterable[str]) -> None:
        """The command's answer: ``document`` with ``--json``, else ``text`` (or its lines) for people."""
        if self.as_json:
            self.write_json(document)
        else:
            lines = [text] if isinstance(text, str) else text
            sys.stdout.writelines(shown_lines(line) + "\n" for line in lines)
            sys.stdout.flush()

    def write_json(self, document: Any) -> None:
        """One JSON document on standard output, whatever the options say."""
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not utf8) + "\n")
        sys.stdout.flush()

    # beside the answer -----------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line for people beside the answer."""
        sys.stderr.write(shown_lines(text) + "\n")
        sys.stderr.flush()

    def error(
        self,
        document: Mapping[str, Any],
        message: str,
        hint: str,
        *,
        receipt: "ReceiptDocument | None" = None,
    ) -> None:
        """What was refused (first line) and what to do (second line), or as JSON ``{"error": document}``.

        ``receipt`` is that of a refused transaction, whose place is told too.
        """
        if self.as_json:
            told: dict[str, Any] = {"error": dict(document)}
            if receipt is not None:
                told["receipt"] = msgspec.to_builtins(receipt)
            self.write_json(told)
            return
        label = "error:"
        if _is_terminal(sys.stderr) and "NO_COLOR" not in os.environ:
            label = f"\x1b[31m{label}\x1b[0m"
        sys.stderr.write(f"{label} {shown_lines(message)}\n")
        if hint:
            sys.stderr.write(f"  what to do: {shown_lines(hint)}\n")
        if receipt is not None:
            sys.stderr.write(f"  receipt: transaction {receipt.id} in block {receipt.height}\n")
        sys.stderr.flush()

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """A report of how far the work ``label`` is, for the time of the block."""
        with self.stages() as report:
            yield lambda done, total: report(label, done, total)

    @contextmanager
    def stages(self) -> Iterator[Stages]:
        """A report of how far each of several stages of work is, for the time of the block."""
        if not _is_terminal(sys.stderr):
            yield _PlainProgress(sys.stderr)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with ProgressBar(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
            tasks: dict[str, TaskID] = {}
            last = 0.0

            def report(stage: str, done: int, total: int) -> None:
                nonlocal last
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage, total=total)
                now = time.monotonic()
                if now - last >= BAR_EVERY_S or done >= total:
                    last = now
                    bar.update(tasks[stage], completed=done, total=total)

            yield report


class _PlainProgress:
    """Progress as a line every few seconds; work that is over before the first line says nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= PLAIN_LINE_EVERY_S:
            self._last = now
            self._stream.write(f"{stage}: {done} of {total}\n")
            self._stream.flush()


def _is_terminal(stream: TextIO) -> bool:
    """Whether a bar can be drawn on ``stream``."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"
