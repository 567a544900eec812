"""Looking whether a node of a network is well."""

import os
from pathlib import Path

import click
import msgspec

from guildbook.cli.access import node_folder
from guildbook.cli.command import Command
from guildbook.cli.keys import PASSPHRASE_VARIABLE
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import EXIT_NODE

MARKS = {"ok": "ok", "warning": "look", "wrong": "WRONG"}


@click.command(
    cls=Command,
    examples=["guildbook network doctor alliance", "guildbook network doctor alliance --json"],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.pass_obj
def doctor(terminal: Terminal, folder: Path) -> int:
    """Look whether the node in FOLDER is well, running or stopped, and say what to do about what is not.

    Compares genesis, keys, file modes, versions, limits, clocks and disk, and whether the other members are reached.
    Nothing is changed. The exit status is 5 when something is wrong.
    """
    from guildbook.node.doctor import examine, worst

    findings = examine(node_folder(folder), os.environ, os.environ.get(PASSPHRASE_VARIABLE))
    state = worst(findings)
    width = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{MARKS[one.state]:<6}{one.name:<{width}}  {one.found}")
        if one.fix:
            lines.append(f"{'':6}{'':{width}}  what to do: {one.fix}")
    count = sum(one.state != "ok" for one in findings)
    lines.append(f"{folder} is well" if not count else f"{count} of {len(findings)} findings need a look")
    terminal.answer({"folder": str(folder), "state": state, "findings": msgspec.to_builtins(findings)}, lines)
    return EXIT_NODE if state == "wrong" else 0
