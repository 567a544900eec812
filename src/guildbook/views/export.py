"""Exports: a table or an answer as one file, with the height that it reflects.

Theory. The file is written under another name beside its place, flushed to the disk, and then put in place in one
step; so whoever sees the file sees all of it, and a failure leaves nothing. Rows stream from the database to the disk,
whatever their number.

Parquet carries the height in its key-value metadata, under ``guildbook.height``. CSV (RFC 4180: UTF-8, a header, CRLF)
has no place for it, so a second file beside it does, as "CSV on the Web" names it: ``<file>-metadata.json``. In CSV a
timestamp is ISO 8601 in UTC, bytes are lower-case hexadecimal digits, lists and structures are JSON, and NULL is
empty, while an empty text is two quotes.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from guildbook.primitives.errors import GuildbookError
from guildbook.views.answer import EXPORT_LIMITS, Exported, Limits, Parameters, plain_value
from guildbook.views.database import Views
from guildbook.views.schema import Relation, quoted
from guildbook.views.scope import Scope

Format = Literal["parquet", "csv"]

ROWS_PER_BATCH = 8_192
ROWS_PER_GROUP = 131_072
"""Rows of one row group of a Parquet file."""

_CSVW_TYPES = {"BIGINT": "integer", "INTEGER": "integer", "HUGEINT": "integer", "BOOLEAN": "boolean",
               "DOUBLE": "double", "TIMESTAMP": "dateTime", "DATE": "date", "BLOB": "hexBinary"}


def export(views: Views, path: Path | str, *, table: str = "", sql: str = "", parameters: Parameters = None,
           form: Format = "parquet", at: int | None = None, scope: Scope | None = None,
           limits: Limits = EXPORT_LIMITS) -> Exported:
    """Write the relation ``table`` (full name) or the answer to ``sql`` to ``path``, replacing a file that is there.

    The rows of a table come in the order of its key, those of a history or of events in the order they happened.
    Raises GuildbookError ``store.full``, ``store.io`` for a path that cannot be written, and what ``Views.query`` does.
    """
    place = Path(path)
    statement = sql or _whole(views.relations(), table)
    notes = {"guildbook.network": views.network, "guildbook.statement": statement}
    with views.prepared(statement, parameters, at=at, scope=scope, limits=limits) as (cursor, checked, height):
        notes["guildbook.height"] = str(height)
        if checked.explains:
            raise GuildbookError("sql.not_allowed", "a plan is not exported", hint="export a SELECT")
        rows = cursor.sql(checked.text, params=parameters)
        reader = rows.to_arrow_reader(ROWS_PER_BATCH)
        with _placed(place) as file:
            count = _write_csv(reader, file) if form == "csv" else _write_parquet(reader, file, notes)
            if form == "csv":
                kinds = list(map(str, rows.types))
                with _placed(place.with_name(f"{place.name}-metadata.json")) as beside:
                    beside.write(_csvw(place.name, rows.columns, kinds, notes, count))
    return Exported(str(place), count, place.stat().st_size, height)


def _whole(relations: dict[str, Relation], table: str) -> str:
    """The statement that reads a whole relation in a fixed order."""
    relation = relations.get(table)
    if relation is None:
        raise GuildbookError("sql.syntax", f"there is no table {table[:80]}", hint="SHOW TABLES lists the tables")
    order = f" ORDER BY {', '.join(map(quoted, relation.order))}" if relation.order else ""
    name = ".".join(map(quoted, table.split(".", 1)))
    return f"SELECT * FROM {name}{order}"  # noqa: S608 - the name of a relation that there is


@contextlib.contextmanager
def _placed(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes its place at ``path`` when the block ends well, and vanishes otherwise."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise GuildbookError("store.full", f"there is no room for {path}: {error.strerror}",
                                 hint="free space, or export to another volume", path=str(path)) from error
        if error.errno is None:
            raise
        raise GuildbookError("store.io", f"{path} cannot be written: {error.strerror}", path=str(path),
                             hint="name a file in a folder that exists and that you may write to") from error


def _write_parquet(reader: pa.RecordBatchReader, file: IO[bytes], notes: dict[str, str]) -> int:
    count = 0
    schema = reader.schema.with_metadata(notes)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            waiting.append(batch)
            count += batch.num_rows
            if sum(part.num_rows for part in waiting) >= ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, reader.schema))
                waiting = []
        if waiting or not count:
            writer.write_table(pa.Table.from_batches(waiting, reader.schema))
    return count


def _write_csv(reader: pa.RecordBatchReader, file: IO[bytes]) -> int:
    count = 0
    texts = [_csv_text(field.type) for field in reader.schema]
    schema = pa.schema([(field.name, pa.string() if text else field.type)
                        for field, text in zip(reader.schema, texts, strict=True)])
    with pyarrow.csv.CSVWriter(file, schema, write_options=pyarrow.csv.WriteOptions(eol="\r\n")) as writer:
        for batch in reader:
            count += batch.num_rows
            writer.write_batch(pa.RecordBatch.from_arrays(
                [column if text is None else pa.array([None if value is None else text(value)
                                                       for value in column.to_pylist()], pa.string())
                 for column, text in zip(batch.columns, texts, strict=True)], schema=schema))
    return count


def _csv_text(kind: pa.DataType) -> Callable[[Any], str] | None:
    """What turns a value into its text in CSV, or None where Arrow's own is right."""
    if pa.types.is_timestamp(kind):
        return lambda value: value.isoformat(timespec="microseconds").removesuffix("000") + "Z"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return lambda value: bytes(value).hex()
    if pa.types.is_nested(kind):
        return lambda value: msgspec.json.encode(plain_value(value)).decode()
    if pa.types.is_interval(kind):
        return lambda value: f"P{value.months}M{value.days}DT{value.nanoseconds / 1e9:.6f}S"
    return str if pa.types.is_dictionary(kind) else None


def _csvw(name: str, columns: list[str], kinds: list[str], notes: dict[str, str], count: int) -> bytes:
    """The metadata of a CSV file (W3C, Metadata Vocabulary for Tabular Data, section 5)."""
    return msgspec.json.format(msgspec.json.encode({
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "tableSchema": {"columns": [
            {"titles": column, "datatype": _CSVW_TYPES.get(kind, "string")}
            for column, kind in zip(columns, kinds, strict=True)]},
        "notes": [{**notes, "guildbook.height": int(notes["guildbook.height"]), "guildbook.rows": count}],
    })) + b"\n"
