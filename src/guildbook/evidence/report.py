"""What a verdict says, in words for a reader and as JSON for a program.

Both keep apart what the file proves and what no file can: that what the parties wrote is true, and who holds
a key.

A file proves bytes, and has no schema. The text therefore shows a key of a row as a reading, with its bytes
beside it: a component that begins as integers of the usual size do (80, or 7F below zero) is read as one, an
ended text that can be printed as text, and 32 last bytes that are neither as a digest. Where a part has none of
these forms, the bytes stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from guildbook.evidence.reference_canonical import Value
from guildbook.evidence.verify import (
    OUTCOMES,
    AbsenceFact,
    Call,
    Fact,
    RangeFact,
    ReceiptFact,
    RowFact,
    Verdict,
)
from guildbook.primitives.cometbft import format_time
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import DIGEST_SIZE_BYTES
from guildbook.primitives.keys import key_text
from guildbook.primitives.ordered import decode_int, decode_text, prefix_end

NOT_ASSESSED: Final = (
    "whether what was written is true: the ledger keeps what was said, not what happened",
    "what came after that block: a later one may have changed or reversed it",
    "who holds the keys that signed: the network's register of parties says to whom they belong",
    "whether the trust anchor is the network's own: it must come from a source other than the file",
)
"""What no evidence file can show."""

_READING_OF_KEYS: Final = "keys: what is proven are the bytes; the words before them are a reading of these"
_READING_OF_ROWS: Final = (
    "rows: the values are in the order of the table's fields, bytes as hexadecimal digits"
)
_READING_OF_CALLS: Final = (
    "calls, results and events: the values are in the order of their declaration, bytes as hexadecimal digits"
)
_READING_OF_TIMES: Final = "times inside values: milliseconds since 1970, UTC"
_FIRST_BYTES_OF_INTEGERS: Final = (b"\x7f", b"\x80")
"""What the encoding of an integer in [-2^56, 2^56) begins with, and that of printable text never does."""


def _printable(value: Value) -> Any:  # `Any`: what JSON can hold
    """A value of the encoding for JSON: bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value


def _name(text: str) -> str:
    """A name as it is, or quoted if a terminal might take it for a command."""
    return text if text.isprintable() else repr(text)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a JSON object: hashes, keys of rows and bytes as hexadecimal digits, time in RFC
    3339.
    """
    return {
        "verified": True,
        "kind": verdict.kind,
        "network": verdict.network,
        "height": verdict.height,
        "time": format_time(verdict.time_ns),
        "block_hash": verdict.block_hash.hex(),
        "power": verdict.power,
        "total_power": verdict.total_power,
        "signers": [key_text(key) for key in verdict.signers],
        "handovers": verdict.handovers,
        "steps": list(verdict.steps),
        "fact": _fact_as_json(verdict.fact),
        "not_assessed": list(NOT_ASSESSED),
    }


def _fact_as_json(fact: Fact) -> dict[str, Any]:
    if isinstance(fact, ReceiptFact):
        signed = fact.signed
        return {
            "transaction": fact.transaction.hex(),
            "index": fact.index,
            "log_index": fact.log_index,
            "outcome": OUTCOMES[fact.outcome],
            "code": fact.code,
            "fields": _printable(fact.fields),
            "results": _printable(fact.results),
            "events": _printable(fact.events),
            "signed": None
            if signed is None
            else {
                "key": key_text(signed.key),
                "valid_until": signed.valid_until,
                "nonce": signed.nonce.hex(),
                "calls": [[call.contract, call.command, _printable(call.arguments)] for call in signed.calls],
            },
        }
    if isinstance(fact, RowFact):
        return {
            "table": fact.table,
            "key": fact.key.hex(),
            "values": _printable(fact.values),
        }
    if isinstance(fact, AbsenceFact):
        return {"table": fact.table, "key": fact.key.hex()}
    return {
        "table": fact.table,
        "start": fact.start.hex(),
        "end": None if fact.end is None else fact.end.hex(),
        "rows": [{"key": row.key.hex(), "values": _printable(row.values)} for row in fact.rows],
    }


def as_text(verdict: Verdict) -> str:
    """The verdict in sentences, a few lines, ending in a line break."""
    when = f"block {verdict.height}" if verdict.height else "the genesis state"
    lines = [
        f"VERIFIED: {verdict.kind} on network {verdict.network}",
        "",
        "Proven:",
        f"- as of {when}, {format_time(verdict.time_ns)}, which validators with {verdict.power} of "
        f"{verdict.total_power} votes made final ({_count(len(verdict.signers), 'signature')}, "
        f"{_count(verdict.handovers, 'handover')} from the trust anchor);",
        *_fact_lines(verdict.fact),
        "- these are the bytes that were agreed then, unaltered.",
        "",
        "How to read it:",
        *_as_list(_reading_aids(verdict.fact)),
        "",
        "Not assessed:",
        *_as_list(NOT_ASSESSED),
    ]
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _as_list(sentences: Sequence[str]) -> list[str]:
    return [*(f"- {one};" for one in sentences[:-1]), f"- {sentences[-1]}."]


def _reading_aids(fact: Fact) -> list[str]:
    """What a reader has to know of the notation of this fact."""
    if isinstance(fact, ReceiptFact):
        return [_READING_OF_CALLS, _READING_OF_TIMES]
    if isinstance(fact, AbsenceFact):
        return [_READING_OF_KEYS]
    return [_READING_OF_KEYS, _READING_OF_ROWS, _READING_OF_TIMES]


def _fact_lines(fact: Fact) -> list[str]:
    if isinstance(fact, ReceiptFact):
        outcome = OUTCOMES[fact.outcome] + (f" ({_name(fact.code)})" if fact.code else "")
        lines = [
            f"- transaction {fact.transaction.hex()} was {outcome}, as receipt {fact.log_index} of the log;"
        ]
        if fact.outcome == 0 and fact.results:
            lines.append(f"- its calls returned {_printable(fact.results)!r};")
        lines += [f"- it said: {_event_text(event)};" for event in fact.events]
        if fact.signed is not None:
            lines.append(f"- it was signed with the key {key_text(fact.signed.key)}, for these calls:")
            lines += [f"    {_call_text(call)}" for call in fact.signed.calls]
        return lines
    if isinstance(fact, RowFact):
        return [
            f"- table {_name(fact.table)} has under {_key_text(fact.key)} this row:",
            f"    {_row_text(fact)}",
        ]
    if isinstance(fact, AbsenceFact):
        return [f"- table {_name(fact.table)} has no row under {_key_text(fact.key)};"]
    lines = [f"- table {_name(fact.table)} has, {_range_text(fact)}, these rows and no others:"]
    lines += [f"    {_key_text(row.key)}: {_row_text(row)}" for row in fact.rows] or ["    (none)"]
    return lines


def _call_text(call: Call) -> str:
    """A call as it is written: ``shed.take_back('drill-1')``."""
    arguments = ", ".join(repr(_printable(one)) for one in call.arguments)
    return f"{_name(call.contract)}.{_name(call.command)}({arguments})"


def _row_text(row: RowFact) -> str:
    return repr(_printable(row.values))


def _range_text(fact: RangeFact) -> str:
    """Which keys a range has, as a part of a sentence."""
    if fact.start and fact.end == prefix_end(fact.start):
        return f"where the key begins with {_key_text(fact.start).removeprefix('key ')}"
    start = f"from {_key_text(fact.start)} on" if fact.start else ""
    end = "" if fact.end is None else f"before {_key_text(fact.end)}"
    return " and ".join(one for one in (start, end) if one) or "from its first key to its last"


def _key_text(key: bytes) -> str:
    """A key with its bytes: ``key 7, 'crumbs' (bytes 80...)``, or the bytes alone if it cannot be read."""
    reading = _components(key)
    return f"key {', '.join(reading)} (bytes {key.hex()})" if reading else f"key of bytes {key.hex()}"


def _components(key: bytes) -> list[str]:
    """The components of an ordered key as they can be read without a schema, in letters that a terminal can show;
    none if a part of it cannot.
    """
    found: list[str] = []
    offset = 0
    while offset < len(key):
        try:
            value: int | str
            if key[offset : offset + 1] in _FIRST_BYTES_OF_INTEGERS:
                value, after = decode_int(key, offset)
            else:
                value, after = decode_text(key, offset)
            readable = isinstance(value, int) or (value != "" and value.isprintable())
        except GuildbookError:
            readable = False
        if readable:
            found.append(repr(value))
            offset = after
        elif len(key) - offset == DIGEST_SIZE_BYTES:
            return [*found, key[offset:].hex()]
        else:
            return []
    return found


def _event_text(event: Value) -> str:
    match event:
        case [str() as contract, str() as name, list() as values]:
            return f"{_name(contract)}.{_name(name)} {_printable(values)!r}"
    return repr(_printable(event))
