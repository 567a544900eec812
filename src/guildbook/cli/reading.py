"""SQL on the command line, over a running node or the folder of a stopped one."""

import datetime
import decimal
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from guildbook.cli.access import Place, ledger_at, ledger_options
from guildbook.cli.command import Command
from guildbook.cli.files import new_file
from guildbook.cli.terminal import Terminal, table_lines

if TYPE_CHECKING:
    from guildbook.client.documents import SqlAnswer


@click.command(
    cls=Command,
    examples=[
        'guildbook sql "SELECT programme, sum(units) FROM points.lots GROUP BY programme" --node alliance',
        'guildbook sql "SHOW TABLES" --url http://127.0.0.1:8440',
        'guildbook sql "SELECT * FROM points.lots" --at 17 --csv --node alliance > lots.csv',
        'guildbook sql "SELECT * FROM points.lots" --parquet lots.parquet --node alliance',
    ],
)
@click.argument("statement")
@click.option(
    "--at", type=click.IntRange(0), metavar="HEIGHT", help="Answer as of this block [default: the last]."
)
@click.option(
    "--wait", type=click.IntRange(0), metavar="HEIGHT", help="Wait until the views hold this block."
)
@click.option("--limit", type=click.IntRange(1), metavar="ROWS", help="Refuse an answer with more rows.")
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV (RFC 4180).")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write the answer to this new Parquet file.")
@ledger_options
@click.pass_obj
def sql(
    terminal: Terminal,
    statement: str,
    at: int | None,
    wait: int | None,
    limit: int | None,
    as_csv: bool,
    parquet: Path | None,
    place: Place,
) -> None:
    """Run one SELECT over the tables and events of all contracts; the answer names the block that it reflects."""
    if as_csv + (parquet is not None) + terminal.as_json > 1:
        raise click.UsageError("--csv, --parquet and --json are three ways to answer; give one of them")
    with ledger_at(place, views=True) as client:
        reached = client.status().height
        answer = client.sql(statement, at=at, wait_for=reached if wait is None else wait, limit=limit)
    extent = f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'} as of block {answer.height}"
    if parquet is not None:
        write_parquet(answer, parquet)
        terminal.note(f"wrote {extent} to {parquet}")
    elif as_csv:
        sys.stdout.buffer.writelines(line.encode() for line in csv_lines(answer))
        sys.stdout.buffer.flush()
        terminal.note(extent)
    else:
        lines = table_lines(answer.columns, [_cells(row) for row in answer.rows])
        terminal.answer(msgspec.to_builtins(answer), [*lines, extent])


def _cells(row: Sequence[Any]) -> list[Any]:
    """A row as a table for people has it: lists and records as JSON."""
    return [json.dumps(one, ensure_ascii=False) if isinstance(one, (list, dict)) else one for one in row]


def csv_lines(answer: "SqlAnswer") -> Iterator[str]:
    """The answer as CSV (RFC 4180): a header, CRLF; NULL is empty, and an empty text is two quotes."""
    yield ",".join(_csv_cell(one) for one in answer.columns) + "\r\n"
    for row in answer.rows:
        yield ",".join(_csv_cell(one) for one in _cells(row)) + "\r\n"


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text == "" or any(one in text for one in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def write_parquet(answer: "SqlAnswer", path: Path) -> None:
    """Write the answer to the new file ``path``, with its types, and its height under ``guildbook.height``."""
    import pyarrow.parquet

    from guildbook.views.answer import Column, Result

    columns = tuple(Column(name, kind) for name, kind in zip(answer.columns, answer.kinds, strict=True))
    rows = [
        tuple(_typed(column.type, value) for column, value in zip(columns, row, strict=True))
        for row in answer.rows
    ]
    with new_file(path) as draft:
        pyarrow.parquet.write_table(
            Result(columns, rows, answer.height, 0.0).arrow(), draft, compression="zstd"
        )


def _typed(kind: str, value: Any) -> Any:
    """A value as the views have it, from its written form in an answer."""
    if not isinstance(value, str):
        return value
    if kind == "BLOB":
        return bytes.fromhex(value)
    if kind.startswith("TIMESTAMP"):
        return datetime.datetime.fromisoformat(value)
    if kind.startswith("DECIMAL"):
        return decimal.Decimal(value)
    return value
