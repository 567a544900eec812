"""Evidence on the command line: export it from a ledger, publish whose signatures count, verify it anywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.access import Place, ledger_at, ledger_options, node_folder
from guildbook.cli.command import Command, Group
from guildbook.cli.files import write_new_file
from guildbook.cli.terminal import Terminal
from guildbook.primitives.keys import parse_key_text

if TYPE_CHECKING:
    from guildbook.client.catalogue import TableDocument

TRANSACTION_ID_DIGITS = 64


@click.command(
    cls=Command,
    examples=[
        "guildbook verify redemption.evidence --trust trust.json",
        "guildbook verify redemption.evidence --trust trust.json --json",
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trust_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The network's trust anchor (JSON), from a source of its own, not from who gave you FILE.",
)
@click.pass_obj
def verify(terminal: Terminal, file: Path, trust_file: Path) -> None:
    """Verify the evidence in FILE: what it proves, and what no file can.

    Needs no node and no network. Exit status 0: it proves what is printed; 6: it does not; 2: a file cannot be used.
    """
    from guildbook.evidence.format import EVIDENCE_SIZE_BYTES_MAX, EvidenceError
    from guildbook.evidence.report import as_json, as_text
    from guildbook.evidence.trust import TRUST_SIZE_BYTES_MAX, parse_trust
    from guildbook.evidence.verify import STEPS
    from guildbook.evidence.verify import verify as verdict_on

    with trust_file.open("rb") as stream:
        trust_bytes = stream.read(TRUST_SIZE_BYTES_MAX + 1)
    with file.open("rb") as stream:
        evidence_bytes = stream.read(EVIDENCE_SIZE_BYTES_MAX + 1)
    try:
        verdict = verdict_on(evidence_bytes, parse_trust(trust_bytes))
    except EvidenceError as error:
        step = str(error.fields.get("step", ""))
        if not terminal.as_json:
            held = STEPS[: STEPS.index(step)] if step in STEPS else ()
            terminal.answer(
                None,
                [
                    f"NOT VERIFIED: {file}",
                    *(f"  {name}: holds" for name in held),
                    f"  {step}: does not hold",
                    "Nothing is proven by this file.",
                ],
            )
        raise
    steps = ", ".join(verdict.steps)
    terminal.answer(
        as_json(verdict), as_text(verdict).rstrip("\n") + f"\n\n{len(verdict.steps)} steps hold: {steps}"
    )


@click.command(
    cls=Command,
    examples=["guildbook trust alliance -o trust.json", "guildbook trust alliance"],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A new file to write [default: print it]."
)
@click.pass_obj
def trust(terminal: Terminal, folder: Path, output: Path | None) -> None:
    """Export the trust anchor of the network of the node in FOLDER: whose signatures evidence is verified with.

    Publish it where a stranger can find it twice, apart from any evidence.
    """
    from guildbook.evidence.trust import Trust, TrustedSet, format_trust
    from guildbook.node import NodeFolder
    from guildbook.node.folder import stored_genesis

    genesis = stored_genesis(NodeFolder(node_folder(folder)))
    data = format_trust(Trust(genesis.network, (TrustedSet(genesis.validator_set),)))
    if output is None:
        click.echo(data.decode(), nl=False)
        return
    write_new_file(output, data)
    terminal.answer(
        {"file": str(output), "network": genesis.network, "size_bytes": len(data)},
        [f"wrote the trust anchor of {genesis.network} to {output}", "Publish it apart from any evidence."],
    )


@click.group(cls=Group)
def prove() -> None:
    """Export evidence of one fact to a file that a stranger can verify offline.

    A fact is a receipt, a row, the absence of a row, or that a range of rows is complete.
    """


_output = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The new file to write."
)


@prove.command(
    cls=Command,
    examples=["guildbook prove receipt 7c0f...e2 -o redemption.evidence --node alliance"],
)
@click.argument("transaction")
@_output
@ledger_options
@click.pass_obj
def receipt(terminal: Terminal, transaction: str, output: Path, place: Place) -> None:
    """Prove what became of the TRANSACTION with this id: who signed what, the outcome, results and events."""
    if len(transaction) != TRANSACTION_ID_DIGITS or set(transaction) - set("0123456789abcdef"):
        raise click.UsageError(
            f"{transaction[:80]!r} is not a transaction's id, which has {TRANSACTION_ID_DIGITS} hexadecimal digits"
        )
    with ledger_at(place, proving=True) as client:
        _write(terminal, client.evidence_receipt(transaction), output, "receipt", transaction)


@prove.command(
    cls=Command,
    examples=["guildbook prove row points.lots 17 -o lot-17.evidence --node alliance"],
)
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@_output
@ledger_options
@click.pass_obj
def row(terminal: Terminal, table: str, key: tuple[str, ...], output: Path, place: Place) -> None:
    """Prove that TABLE (contract.table) has this row under its primary KEY, part by part."""
    with ledger_at(place, proving=True) as client:
        parts = _key_parts(client.catalogue.table(table), key, whole=True)
        _write(terminal, client.evidence_row(table, *parts), output, "row", f"{table} {' '.join(key)}")


@prove.command(
    cls=Command,
    examples=["guildbook prove absence points.debts member-7 kettle -o no-debt.evidence --node alliance"],
)
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@_output
@ledger_options
@click.pass_obj
def absence(terminal: Terminal, table: str, key: tuple[str, ...], output: Path, place: Place) -> None:
    """Prove that TABLE has no row under the primary KEY."""
    with ledger_at(place, proving=True) as client:
        parts = _key_parts(client.catalogue.table(table), key, whole=True)
        _write(
            terminal, client.evidence_absence(table, *parts), output, "absence", f"{table} {' '.join(key)}"
        )


@prove.command(
    "range",
    cls=Command,
    examples=[
        "guildbook prove range points.programmes -o programmes.evidence --node alliance",
        "guildbook prove range points.totals kettle -o kettle-totals.evidence --node alliance",
    ],
)
@click.argument("table")
@click.argument("prefix", nargs=-1)
@_output
@ledger_options
@click.pass_obj
def prove_range(terminal: Terminal, table: str, prefix: tuple[str, ...], output: Path, place: Place) -> None:
    """Prove that the rows of TABLE whose primary key begins with PREFIX are these and no others."""
    with ledger_at(place, proving=True) as client:
        parts = _key_parts(client.catalogue.table(table), prefix, whole=False)
        _write(
            terminal,
            client.evidence_range(table, *parts),
            output,
            "range",
            f"{table} {' '.join(prefix)}".strip(),
        )


def _key_parts(document: "TableDocument", texts: Sequence[str], *, whole: bool) -> list[Any]:
    """The parts of a primary key from the command line; raises GuildbookError ``call.bad_arguments``."""
    from guildbook.client.catalogue import value_of_text
    from guildbook.runtime.arguments import bad_arguments

    if len(texts) > len(document.key) or (whole and len(texts) < len(document.key)):
        raise bad_arguments(
            document.name,
            f"the key has {len(document.key)} parts, and {len(texts)} were given",
            f"give {' '.join(name.upper() for name in document.key)}",
        )
    fields = {one.name: one for one in document.fields}
    parts = []
    for name, text in zip(document.key, texts, strict=False):
        if name == "public_key" and ":" in text:
            parts.append(parse_key_text(text))
        else:
            parts.append(value_of_text(fields[name], text, document.name))
    return parts


def _write(terminal: Terminal, data: bytes, output: Path, kind: str, fact: str) -> None:
    write_new_file(output, data)
    terminal.answer(
        {"file": str(output), "kind": kind, "fact": fact, "size_bytes": len(data)},
        [
            f"wrote the evidence of {kind} {fact} to {output} ({len(data)} bytes)",
            f"verify it with: guildbook verify {output} --trust trust.json",
        ],
    )
