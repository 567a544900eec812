"""For authors of contracts: the determinism gate, and a new application that works from its first minute."""

import keyword
import os
import re
import shutil
import tempfile
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.identifiers import check_name

SOURCE_SIZE_BYTES_MAX = 1 << 20
TEMPLATE_SUFFIX = ".template"


@click.command(
    cls=Command,
    examples=[
        "guildbook gate loans/contract.py",
        "guildbook gate loans/contract.py points/contract.py --json",
    ],
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def gate(terminal: Terminal, files: tuple[Path, ...]) -> int:
    """Hold contract FILES against the determinism gate, and say what to write instead.

    Exit status 0 when nothing is found, 2 otherwise.
    """
    from guildbook.primitives.errors import EXIT_USAGE
    from guildbook.runtime.gate import check_source

    found = []
    for file in files:
        with file.open("rb") as stream:
            data = stream.read(SOURCE_SIZE_BYTES_MAX)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise GuildbookError(
                "contract.not_deterministic", f"{file} is not UTF-8: {error.reason} at byte {error.start}",
                hint="save the file as UTF-8") from None  # fmt: skip
        found += [(file, one) for one in check_source(text, str(file))]
    document = {
        "passed": not found,
        "findings": [
            {
                "file": str(file),
                "line": one.line,
                "column": one.column,
                "rule": one.rule,
                "message": one.message,
                "instead": one.instead,
            }
            for file, one in found
        ],
    }
    lines = [f"{file}:{one}" for file, one in found]
    passed = f"{len(files)} file{'s' if len(files) > 1 else ''} passed"
    lines.append(f"{len(found)} finding{'s' if len(found) > 1 else ''}" if found else passed)
    terminal.answer(document, lines)
    return EXIT_USAGE if found else 0


@click.command(
    cls=Command,
    examples=[
        "guildbook new-app loans",
        "guildbook new-app loans --folder src/guildbook_apps/loans",
    ],
)
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where it goes [default: src/guildbook_apps/NAME in this project, ./NAME elsewhere].",
)
@click.pass_obj
def new_app(terminal: Terminal, name: str, folder: Path | None) -> None:
    """Write a small application NAME that works: contract, tests, samples, page.

    NAME is one word in small letters, digits and underscores. The contract keeps a register of named entries; change
    it into what you need.
    """
    check_application_name(name)
    inside = Path("src/guildbook_apps")
    target = folder if folder is not None else (inside / name if inside.is_dir() else Path(name))
    if target.resolve().name != name:
        raise GuildbookError(
            "cli.usage",
            f"the folder {target} is not named {name}, and it is the application's package",
            hint=f"use --folder {target / name}",
        )
    words = _words(name, target)
    written = write_application(target, words)
    tests = target / "tests"
    terminal.answer(
        {"name": name, "folder": str(target), "files": [str(one) for one in written]},
        [
            f"wrote the application {name}:",
            *(f"  {one}" for one in written),
            "next:",
            f"  guildbook gate {target / 'contract.py'}",
            f"  python -m pytest {tests}",
            f"  guildbook init NODE --app {name if target.parent == inside else _place_of(words)}",
        ],
    )


def check_application_name(name: str) -> None:
    """Raise GuildbookError ``identifier.malformed`` unless ``name`` can name an application, a package and a class."""
    import guildbook.contract

    check_name(name, "application name")
    taken = {*guildbook.contract.__all__, "Entry", "Total", "Status", "Opened", "Closed"}
    if keyword.iskeyword(name) or _class_name(name) in taken:
        raise GuildbookError(
            "identifier.malformed",
            f"{name!r} has a meaning in Python or in the contract API already",
            hint="choose another name, such as a plural",
            value=name,
        )


def _class_name(name: str) -> str:
    """``loan_book`` -> ``LoanBook``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _place_of(words: dict[str, str]) -> str:
    """Where the contract's class is, as ``module:Class``."""
    return f"{words['package']}.contract:{words['Name']}"


def _words(name: str, target: Path) -> dict[str, str]:
    """What stands for each word of the template. Inside this project its own packages are one group of imports."""
    inside = target.resolve().parent.name == "guildbook_apps"
    package = f"guildbook_apps.{name}" if inside else name
    own = f"from {package}.contract import AMOUNT_MINOR_MAX, {_class_name(name)}"
    testing = "from guildbook.testing import TestLedger, refused"
    laws = "from hypothesis import given, settings\nfrom hypothesis import strategies as st"
    imports = (
        f"import pytest\n{laws}\n\n{testing}\n{own}"
        if inside
        else f"import pytest\n{testing}\n{laws}\n\n{own}"
    )
    return {
        "name": name,
        "package": package,
        "Name": _class_name(name),
        "title": name.replace("_", " ").capitalize(),
        "imports": imports,
        "gap": "" if inside else "\n",
    }


def write_application(target: Path, words: dict[str, str]) -> list[Path]:
    """Write the template with ``words`` filled in to the new folder ``target``; returns the files in order.

    The folder appears complete or not at all. Raises GuildbookError ``store.not_empty``.
    """
    if target.exists():
        raise GuildbookError(
            "store.not_empty", f"{target} exists already", hint="name another folder", path=str(target)
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _copy(resources.files("guildbook.cli") / "templates" / "application", draft, words)
        draft.chmod(0o755)
        os.rename(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return sorted(path for path in target.rglob("*") if path.is_file())


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    for entry in source.iterdir():
        place = target / filled(entry.name.removesuffix(TEMPLATE_SUFFIX), words)
        if entry.is_dir():
            place.mkdir()
            _copy(entry, place, words)
        else:
            place.write_text(filled(entry.read_text("utf-8"), words), "utf-8")


def filled(text: str, words: dict[str, str]) -> str:
    """``text`` with each ``__word__`` that ``words`` knows replaced."""
    return re.sub(r"__([A-Za-z]+)__", lambda match: words.get(match[1], match[0]), text)
