"""Writes the reference pages that are derived from the program: docs/reference/{cli,errors,contracts,configuration,
iso20022}.md.

python scripts/build_reference.py            write what has changed
python scripts/build_reference.py --check    write nothing; exit status 1 when a page is not current
"""

import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from guildbook.cli.command import Command
from guildbook.cli.main import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    EXIT_TERMINATED,
    guildbook_command,
)
from guildbook.client.catalogue import CatalogueDocument, FieldDocument, describe
from guildbook.foundation import FOUNDATION
from guildbook.node.applications import load_applications
from guildbook.node.config import config_reference
from guildbook.primitives.errors import (
    ERRORS,
    EXIT_NODE,
    EXIT_REFUSED,
    EXIT_UNPROVEN,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
)
from guildbook.runtime.catalogue import Catalogue
from guildbook.standards import xml
from guildbook.standards.iso20022 import KINDS, WRITTEN, BusinessHeader
from guildbook.standards.iso20022.header import BUSINESS_HEADER
from guildbook.standards.xml import Part, Shape

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
APPLICATIONS = ROOT / "src" / "guildbook_apps"
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
GENERATED = "This page is written by `make docs`; a test holds it to the program.\n"

HOLDS = {
    id(xml.DATE): "date",
    id(xml.DATE_TIME): "time",
    id(xml.WHEN): "date or time",
    id(xml.CODE): "code, of Cd or Prtry",
    id(xml.MONEY): "amount",
    id(xml.BOOLEAN): "true or false",
    id(xml.COUNT): "whole number",
    id(xml.DECIMAL): "decimal text",
}

EXIT_STATUSES = {
    0: "Done.",
    EXIT_FAULT: "A mistake of the program. Run the same again with `--debug` and report it.",
    EXIT_USAGE: "The command line, or what it names, is not usable. Nothing was done.",
    EXIT_REFUSED: "The ledger refused: a rejection, a missing permission, something that is not there.",
    EXIT_UNREACHABLE: "Nobody answered, or not in time. Trying again can help.",
    EXIT_NODE: "The store, the disk or the configuration of this node needs attention.",
    EXIT_UNPROVEN: "A proof or a signature does not hold.",
    70: "`guildbook run` alone: the node has halted on a broken law. Do not restart it unseen.",
    EXIT_INTERRUPTED: "Stopped with Ctrl-C; nothing half-written is left.",
    EXIT_PIPE_CLOSED: "The reader of the output went away (`| head`).",
    EXIT_TERMINATED: "Stopped with SIGTERM; nothing half-written is left.",
}


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {
        "cli.md": cli_page(),
        "errors.md": errors_page(),
        "contracts.md": contracts_page(),
        "configuration.md": config_reference(),
        "iso20022.md": iso20022_page(),
    }


# the command line ----------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments, options and examples."""
    lines = [
        "# The command line",
        "",
        GENERATED,
        "Every command has `--json` (one JSON document on standard output; an error is",
        '`{"error": {"code", "message", "hint", "fields"}}`), `--debug` (where in the program an error arose) and',
        "`--help`. Answers go to standard output; progress, notes and errors for people go to standard error. Colour",
        "is left out where `NO_COLOR` is set.",
        "",
        "| exit status | meaning |",
        "|---|---|",
        *(f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES.items()),
        "",
    ]
    for path, command in leaves(guildbook_command, ("guildbook",)):
        lines += command_lines(" ".join(path), command)
    return "\n".join(lines).rstrip() + "\n"


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that do something, with their words, in the order of the help."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None, name
        yield from leaves(inner, (*path, name))


def command_lines(name: str, command: click.Command) -> list[str]:
    """One section: what the command does, its usage, options and examples."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", paragraphs(command.help or ""), "", "```text", usage, "```", ""]
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    own = [one for one in options if not {"--json", "--debug", "--help"} & set(one.opts)]
    if own:
        lines += ["| option | meaning |", "|---|---|"]
        for option in own:
            meaning, extra = option.help or "", option_extra(option)
            lines.append(f"| `{option_words(option, context)}` | {cell(meaning)}{extra} |")
        lines.append("")
    if command.epilog:
        lines += [paragraphs(command.epilog), ""]
    if isinstance(command, Command) and command.examples:
        lines += ["```text", *command.examples, "```", ""]
    return lines


def option_words(option: click.Option, context: click.Context) -> str:
    """``-o, --output PATH``."""
    words = ", ".join(sorted(option.opts, key=len))
    return words if option.is_flag else f"{words} {option.make_metavar(context)}"


def option_extra(option: click.Option) -> str:
    """Default and environment, where they are told."""
    told = []
    if option.show_default and option.default is not None and not option.is_flag:
        told.append(f"default: {option.default}")
    if option.envvar:
        told.append(f"environment: {option.envvar}")
    if option.required:
        told.append("required")
    return f" [{'; '.join(told)}]" if told else ""


def paragraphs(text: str) -> str:
    """Help text as paragraphs of one line each."""
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def cell(text: str) -> str:
    """Text in a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


# errors --------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """The error table."""
    lines = [
        "# Errors",
        "",
        GENERATED,
        "A code means the same in a receipt, in a problem document of the HTTP interface (RFC 9457, member `code`) and "
        "on the command line.",
        "Codes of contracts' own refusals (`points.not_enough_units`) are with their [contracts](contracts.md); they "
        "have HTTP status 422",
        "and exit status 3.",
        "",
        "| code | HTTP | exit | what it means | what to do |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{one.code}` | {one.http_status} | {one.exit_status} | {cell(one.summary)} | {cell(one.next_step)} |"
        for one in sorted(ERRORS.values(), key=lambda one: one.code)
    ]
    return "\n".join(lines) + "\n"


# contracts -----------------------------------------------------------------------------------------------------


def contracts_page() -> str:
    """The founding contracts and those of the applications in this repository: what they declare."""
    applications = [name for name in application_names() if has_contract(name)]
    founding = [one.contract_name for one in FOUNDATION]
    loaded = load_applications(applications)
    lines = [
        "# Contracts",
        "",
        GENERATED,
        "The contracts that every network begins with, and those of the applications. A command needs the permission",
        "that is named with it; an event is a fact in a receipt; a refusal leaves no trace but its receipt. Tables and",
        "events are in SQL under the same names.",
        "",
        f"Founding contracts: {', '.join(f'[{name}](#{name})' for name in founding)}. Applications: "
        f"{', '.join(f'[{one.contract_name}](#{one.contract_name})' for one in loaded)}.",
        "",
    ]
    catalogue = Catalogue([*FOUNDATION, *loaded])
    document = describe("", catalogue, {})
    for contract in (*FOUNDATION, *loaded):
        lines += contract_lines(contract, document)
    return "\n".join(lines).rstrip() + "\n"


def application_names() -> list[str]:
    """The folders of applications that have a manifest."""
    return sorted(one.parent.name for one in APPLICATIONS.glob("*/app.toml"))


def has_contract(name: str) -> bool:
    """Whether the application's manifest names a contract that is there."""
    manifest = tomllib.loads((APPLICATIONS / name / "app.toml").read_text("utf-8"))
    module = str(manifest.get("contract", "")).partition(":")[0]
    return bool(module) and importlib.util.find_spec(module) is not None


def contract_lines(contract: Any, document: CatalogueDocument) -> list[str]:
    """One section: commands, queries, tables, events and refusals of a contract."""
    name = contract.contract_name
    lines = [f"## {name}", "", first_paragraph(contract.__doc__ or ""), ""]
    commands = [one for full, one in document.commands.items() if one.contract == name]
    if commands:
        lines += ["| command | permission | what it does |", "|---|---|---|"]
        for one in commands:
            who = (
                "contracts only"
                if one.callers_only
                else f"`{one.permission}`"
                if one.permission
                else "any active party"
            )
            lines.append(
                f"| `{one.name}({argument_words(one.arguments)})` | {who} | {cell(first_paragraph(one.doc))} |"
            )
        lines.append("")
    queries = [one for one in document.queries.values() if one.contract == name]
    if queries:
        lines += ["| query | what it answers |", "|---|---|"]
        lines += [
            f"| `{one.name}({argument_words(one.arguments)})` | {cell(first_paragraph(one.doc))} |"
            for one in queries
        ]
        lines.append("")
    tables = [one for full, one in document.tables.items() if full.startswith(f"{name}.")]
    tables = [one for one in tables if one.name != f"{name}.counters"]
    if tables:
        lines += ["| table | what a row is | fields |", "|---|---|---|"]
        lines += [
            f"| `{one.name}` | {cell(first_paragraph(one.doc))} | {field_list(one.fields)} |"
            for one in tables
        ]
        lines.append("")
    events = [one for one in document.events.values() if one.contract == name]
    if events:
        lines += ["| event | what it states | fields |", "|---|---|---|"]
        lines += [
            f"| `{name}.{one.name}` | {cell(first_paragraph(one.doc))} | {field_list(one.fields)} |"
            for one in events
        ]
        lines.append("")
    refusals = [one for one in document.rejections.values() if one.code.startswith(f"{name}.")]
    if refusals:
        lines += ["| refusal | what it says | fields |", "|---|---|---|"]
        lines += [f"| `{one.code}` | {cell(one.message)} | {field_list(one.fields)} |" for one in refusals]
        lines.append("")
    return lines


def first_paragraph(text: str) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(text.strip().split("\n\n")[0].split()).replace("``", "`")


def argument_words(fields: tuple[FieldDocument, ...]) -> str:
    """``programme, units, note=null``."""
    return ", ".join(
        one.name if one.required else f"{one.name}={default_words(one.default)}" for one in fields
    )


def default_words(value: Any) -> str:
    """A default as JSON has it."""
    if isinstance(value, list):
        return "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def field_list(fields: tuple[FieldDocument, ...]) -> str:
    """``id (key): whole number; holder: code``."""
    return (
        cell("; ".join(f"`{one.name}`{' (key)' if one.key else ''}: {kind_words(one)}" for one in fields))
        or "none"
    )


def kind_words(field: FieldDocument) -> str:
    """What a value may be, in words."""
    optional = " or null" if field.optional else ""
    if field.choices:
        return f"one of {', '.join(field.choices)}{optional}"
    if field.kind == "json" and field.items is not None:
        return f"list of {kind_words(field.items)}{optional}"
    if field.kind == "record":
        return f"({', '.join(one.name for one in field.fields)}){optional}"
    if field.kind == "int":
        return f"whole number{range_words(field.minimum, field.maximum)}{optional}"
    if field.kind == "text" and field.pattern:
        return f"code{optional}"
    if field.kind == "text":
        return f"text of at most {field.maximum} characters{optional}" if field.maximum else f"text{optional}"
    names = {"timestamp": "time", "bool": "true or false", "digest": "digest of 32 bytes", "bytes": "bytes"}
    return names[field.kind] + optional


def range_words(low: int | None, high: int | None) -> str:
    """The bounds of an integer, where they are narrower than 64 bits."""
    below = low is not None and low > INT64_MIN
    above = high is not None and high < INT64_MAX
    if below and above:
        return f" from {low} to {high}"
    return f" from {low}" if below else f" to {high}" if above else ""


# ISO 20022 -----------------------------------------------------------------------------------------------------


def iso20022_page() -> str:
    """Messages, versions, and the element of every field."""
    lines = [
        "# ISO 20022",
        "",
        GENERATED,
        "`guildbook.standards.iso20022` reads these messages, bare or in the envelope of a network, and writes some.",
        "How that is used, and what is lost on the way: [Exchange messages with a bank](../how-to/bank-messages.md).",
        "",
        "| message | read in versions | root element | written | record |",
        "|---|---|---|---|---|",
    ]
    written = {name[:8]: name for name in WRITTEN}
    for kind in KINDS:
        versions = f"{kind.first:02d} to {kind.last:02d}" if kind.first < kind.last else f"{kind.first:02d}"
        out = f"`{written[kind.family]}`" if kind.family in written and kind.last > 2 else ""
        record = record_link(kind.shape.record)
        lines.append(f"| {kind.family} | {versions} | {kind.root} | {out} | {record} |")
    lines += [
        "| head.001 | 01 to 99 | AppHdr |  | " + record_link(BusinessHeader) + " |",
        "",
        "Below, an element is the path from the record's own element. *many*: the field is a tuple. *needed*: reading",
        "refuses a message without it. *must*: writing does. *old*: the element of other versions, never written.",
        "`AccountReport.statements` are Rpt in camt.052, Stmt in camt.053 and Ntfctn in camt.054.",
    ]
    done: dict[str, Shape[Any]] = {}
    for kind in KINDS:
        collect_shapes(kind.shape, done)
    collect_shapes(BUSINESS_HEADER, done)
    for name in sorted(done):
        lines += shape_lines(name, done[name])
    return "\n".join(lines) + "\n"


def record_link(record: type) -> str:
    """A link to the section of a record."""
    return f"[{record.__name__}](#{record.__name__.lower()})"


def inner_shape(codec: Any) -> Shape[Any] | None:
    """The table of a record that a codec reads, if it reads one."""
    if isinstance(codec, Shape):
        return codec
    found = getattr(codec, "shape", None) or getattr(codec, "party", None) or getattr(codec, "agent", None)
    return found if isinstance(found, Shape) else None


def collect_shapes(shape: Shape[Any], done: dict[str, Shape[Any]]) -> None:
    """Every table below one, each record once."""
    if shape.record.__name__ in done:
        return
    done[shape.record.__name__] = shape
    for _, part, _ in placed_parts(shape.parts, "", False):
        inside = inner_shape(part.codec)
        if inside is not None:
            collect_shapes(inside, done)


def placed_parts(parts: Any, path: str, old: bool) -> Iterator[tuple[str, Part, bool]]:
    """Every part of a table with its path, and whether it is of other versions."""
    for name, part in parts.items():
        if isinstance(part, Part):
            yield path + name, part, old or not part.written
        else:
            yield from placed_parts(part.parts, f"{path}{name}/", old or not part.written)


def shape_lines(name: str, shape: Shape[Any]) -> list[str]:
    """The section of one record."""
    required = {field.name for field in msgspec.structs.fields(shape.record) if field.required}
    lines = ["", f"## {name}", "", first_paragraph(shape.record.__doc__ or ""), ""]
    lines += ["| field | element | holds |", "|---|---|---|"]
    for path, part, old in placed_parts(shape.parts, "", False):
        inside = inner_shape(part.codec)
        holds = record_link(inside.record) if inside else HOLDS.get(id(part.codec), "text")
        marks = ["*many*"] * part.many + ["*must*"] * part.must + ["*old*"] * old
        marks += ["*needed*"] * (part.field in required and not part.must and not old)
        lines.append(f"| `{part.field}` | {path} | {' '.join([holds, *marks])} |")
    return lines


def main() -> int:
    """Write the pages, or with ``--check`` say which are not current."""
    stale = []
    for name, text in pages().items():
        page = FOLDER / name
        if not page.exists() or page.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                page.write_text(text, "utf-8")
    for name in stale:
        print(f"{'not current' if '--check' in sys.argv[1:] else 'written'}: docs/reference/{name}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
