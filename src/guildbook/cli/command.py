"""The shape that all commands share: examples in the help, ``--json`` and ``--debug``.

Commands are loaded when they are used, so that ``guildbook verify`` does not wait for a web server's imports.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import click

from guildbook.cli.terminal import Terminal


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Terminal).as_json = True


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Terminal).debug = True


def shared_options() -> list[click.Parameter]:
    """The options that every command has."""
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_json,
            help="Answer with one JSON document, errors too.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_debug,
            help="Show where in the program an error arose.",
        ),
    ]


class Command(click.Command):
    """A command with examples. ``examples`` are shell lines without a prompt."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)
        self.params.extend(shared_options())

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples behind the options."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        super().format_epilog(context, formatter)


class Group(click.Group):
    """A group whose commands are named by module and loaded when they are used.

    ``modules`` maps a command's name to the module that has it, as an attribute of the same name with ``_`` for
    ``-``; the order is the order of the help.
    """

    command_class = Command

    def __init__(self, *arguments: Any, modules: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.extend(shared_options())
        self._modules = dict(modules or {})

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of the commands."""
        return [
            *self._modules,
            *(name for name in super().list_commands(context) if name not in self._modules),
        ]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command ``name``, loaded."""
        module = self._modules.get(name)
        if module is None:
            return super().get_command(context, name)
        command = getattr(importlib.import_module(module), name.replace("-", "_"))
        assert isinstance(command, click.Command), name
        return command
