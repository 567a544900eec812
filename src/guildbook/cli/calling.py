"""Calling commands and asking queries: arguments are typed by the contract's own declaration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from guildbook.cli.access import Place, ledger_at, ledger_options
from guildbook.cli.command import Command
from guildbook.cli.keys import signing_key
from guildbook.cli.terminal import Terminal

if TYPE_CHECKING:
    from guildbook.client.catalogue import FieldDocument
    from guildbook.client.documents import ReceiptDocument

ARGUMENTS_HELP = (
    "Arguments are NAME=VALUE: whole numbers in minor units, text, true or false, bytes as hexadecimal, times as "
    "2026-01-31T12:00:00Z or milliseconds. NAME:=JSON gives a value as JSON: null, or a list."
)


@click.command(
    cls=Command,
    epilog=ARGUMENTS_HELP,
    examples=[
        "guildbook call points.enrol member=m-1 controller=anna --key officer.key --node alliance",
        "guildbook call points.issue programme=crumbs member=m-1 units=30 evidence=00...17 "
        "--key officer.key --url http://127.0.0.1:8440",
        "guildbook call parties.grant_role party=till permission=points:merchant --key admin.key --json",
    ],
)
@click.argument("command")
@click.argument("arguments", nargs=-1)
@click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(path_type=Path),
    envvar="GUILDBOOK_KEY",
    show_envvar=True,
    help="The key file to sign with.",
)
@ledger_options
@click.pass_obj
def call(terminal: Terminal, command: str, arguments: tuple[str, ...], key_file: Path, place: Place) -> None:
    """Call COMMAND (contract.command) in a signed transaction of its own, and wait for the receipt.

    Exit status 0: applied; 3: refused, with the reason; 4: not known, and the same call may be repeated with care.
    """
    key = signing_key(key_file)
    with ledger_at(place, key) as client:
        document = client.catalogue.command(command)
        named = named_values(document.arguments, arguments, command)
        receipt = client.call(command, **named)
    terminal.answer({"receipt": msgspec.to_builtins(receipt)}, _receipt_lines(receipt))


@click.command(
    cls=Command,
    epilog=ARGUMENTS_HELP,
    examples=[
        "guildbook query points.balance member=m-1 programme=crumbs --node alliance",
        "guildbook query points.balance member=m-1 programme=crumbs --url http://127.0.0.1:8440 --json",
    ],
)
@click.argument("query")
@click.argument("arguments", nargs=-1)
@ledger_options
@click.pass_obj
def query(terminal: Terminal, query: str, arguments: tuple[str, ...], place: Place) -> None:
    """Ask QUERY (contract.query), a computed read, as of the last block."""
    with ledger_at(place) as client:
        document = client.catalogue.query(query)
        answer = client.ask(query, **named_values(document.arguments, arguments, query))
    shown = (
        answer.result
        if isinstance(answer.result, str)
        else json.dumps(answer.result, ensure_ascii=False, indent=2)
    )
    terminal.answer(msgspec.to_builtins(answer), [shown, f"as of block {answer.height}"])


def named_values(fields: "Sequence[FieldDocument]", words: Sequence[str], owner: str) -> dict[str, Any]:
    """The values by name in ``NAME=VALUE`` and ``NAME:=JSON``.

    Raises click.UsageError for another form, and GuildbookError ``call.bad_arguments`` for a value that does not fit. A
    name that is not declared is passed on, so that the refusal lists what is.
    """
    from guildbook.client.catalogue import value_of_text

    known = {one.name: one for one in fields}
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        as_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            raise click.UsageError(f"{word[:80]!r} is no argument; write NAME=VALUE")
        if name in values:
            raise click.UsageError(f"{name} is given twice")
        if as_json:
            try:
                values[name] = json.loads(text)
            except (ValueError, RecursionError):
                raise click.UsageError(f"{name}: {text[:80]!r} is not JSON") from None
        else:
            values[name] = value_of_text(known[name], text, owner) if name in known else text
    return values


def _receipt_lines(receipt: "ReceiptDocument") -> list[str]:
    lines = [
        f"{receipt.outcome} in block {receipt.height} as {receipt.party} of {receipt.organisation}",
        f"transaction {receipt.id}",
    ]
    lines += [f"result: {json.dumps(one, ensure_ascii=False)}" for one in receipt.results if one is not None]
    for event in receipt.events:
        fields = " ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in event.fields.items()
        )
        lines.append(f"event {event.contract}.{event.event} {fields}")
    return lines
