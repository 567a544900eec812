"""Demonstrations of applications: the module ``demo`` of an installed application, found when it is asked for.

Such a module has ``run_demo(out_dir, *, ..., progress)``, whose further named arguments become options (a number, a
path or text, by annotation; a tuple of them may be given several times), and ``print_summary(summary, console)``. What
it writes goes to ``out_dir``; a file ``summary.json`` among it is the answer with ``--json``.
"""

import importlib
import importlib.util
import inspect
import json
import shutil
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from guildbook.cli.command import Command, Group
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError

SUMMARY_FILE = "summary.json"
OWN_ARGUMENTS = ("out_dir", "progress")
FOLDERS_MAX = 1_000
PIPED_WIDTH = 160
"""Characters in a line where no terminal says how many fit."""


class Demonstrations(Group):
    """A command for each installed application that has a demonstration."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """The names of these applications."""
        return [name for name, module in _modules().items() if importlib.util.find_spec(module) is not None]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command that runs the demonstration of the application ``name``."""
        if name not in self.list_commands(context):
            return None
        module = importlib.import_module(_modules()[name])
        return Command(
            name,
            callback=click.pass_obj(_runner(name, module)),
            params=[_out_option(name), *_options(module.run_demo)],
            help=inspect.getdoc(module),
            short_help=(inspect.getdoc(module) or "").partition("\n")[0],
            examples=[f"guildbook demo {name}", f"guildbook demo {name} --out build/{name} --json"],
        )


@click.group(cls=Demonstrations)
def demo() -> None:
    """Run the demonstration of an application: made-up members, real transactions, evidence at the end."""


def _modules() -> dict[str, str]:
    """Installed application -> its module of demonstration, whether there is one or not."""
    from guildbook.node.applications import discover

    return {
        name: f"{path.partition(':')[0].rpartition('.')[0]}.demo"
        for name, path in discover().items()
        if "." in path.partition(":")[0]
    }


def _out_option(name: str) -> click.Option:
    return click.Option(
        ["--out", "out_dir"],
        type=click.Path(path_type=Path),
        help=f"A new folder for what it writes [default: {name}-demo, with a number behind it where that is there].",
    )


def _options(function: Callable[..., Any]) -> list[click.Parameter]:
    """An option for each named argument of a demonstration."""
    hints = typing.get_type_hints(function)
    options: list[click.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in OWN_ARGUMENTS:
            continue
        kinds = set(typing.get_args(hints[parameter.name])) or {hints[parameter.name]}
        kind: Any = click.STRING
        if int in kinds:
            kind = click.INT
        elif Path in kinds:
            kind = click.Path(path_type=Path, exists=True)
        name = "--" + parameter.name.replace("_", "-")
        several = typing.get_origin(hints[parameter.name]) is tuple
        shown = parameter.default is not None and not several
        options.append(
            click.Option([name], type=kind, default=parameter.default, show_default=shown, multiple=several)
        )
    return options


def _runner(name: str, module: types.ModuleType) -> Callable[..., None]:
    def run(terminal: Terminal, out_dir: Path | None, **options: Any) -> None:
        target = out_dir if out_dir is not None else free_folder(f"{name}-demo")
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise GuildbookError(
                "store.not_empty",
                f"{target} holds something already",
                hint="name a new folder",
                path=str(target),
            )
        try:
            with terminal.stages() as progress:
                summary = module.run_demo(target, progress=progress, **options)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        if terminal.as_json:
            written = target / SUMMARY_FILE
            content = json.loads(written.read_text("utf-8")) if written.exists() else None
            terminal.answer({"application": name, "out": str(target), "summary": content}, "")
        else:
            width = None if sys.stdout.isatty() else PIPED_WIDTH
            module.print_summary(summary, Console(file=sys.stdout, highlight=False, width=width))

    return run


def free_folder(name: str) -> Path:
    """``name``, or with a number behind it if there is such a folder."""
    for number in range(1, FOLDERS_MAX):
        path = Path(name if number == 1 else f"{name}-{number}")
        if not path.exists():
            return path
    raise GuildbookError(
        "cli.usage", f"there are {FOLDERS_MAX} folders {name}-...", hint="remove some, or give --out"
    )
