"""What a verdict says, in words for a reader and as JSON for a program.

Both keep apart what the file proves and what no file can: that what the parties wrote is true, and who holds
a key.
"""

from __future__ import annotations

from typing import Any, Final

from guildbook.evidence.reference_canonical import Value
from guildbook.evidence.verify import OUTCOMES, AbsenceFact, Fact, ReceiptFact, RowFact, Verdict
from guildbook.primitives.cometbft import format_time
from guildbook.primitives.keys import key_text

NOT_ASSESSED: Final = (
    "whether what was written is true: the ledger keeps what was said, not what happened",
    "what came after that block: a later one may have changed or reversed it",
    "who holds the keys that signed: the network's register of parties says to whom they belong",
    "whether the trust anchor is the network's own: it must come from a source other than the file",
)
"""What no evidence file can show."""


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
        f"{verdict.total_power} votes made final ({len(verdict.signers)} signatures, "
        f"{verdict.handovers} handovers from the trust anchor);",
        *_fact_lines(verdict.fact),
        "- these are the bytes that were agreed then, unaltered.",
        "",
        "Not assessed:",
        *(f"- {line};" for line in NOT_ASSESSED[:-1]),
        f"- {NOT_ASSESSED[-1]}.",
    ]
    return "\n".join(lines) + "\n"


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
            lines += [
                f"    {_name(call.contract)}.{_name(call.command)}{tuple(_printable(call.arguments))!r}"
                for call in fact.signed.calls
            ]
        return lines
    if isinstance(fact, RowFact):
        return [
            f"- table {_name(fact.table)} has under key {fact.key.hex()} the row {_printable(fact.values)!r};"
        ]
    if isinstance(fact, AbsenceFact):
        return [f"- table {_name(fact.table)} has no row under key {fact.key.hex()};"]
    start = fact.start.hex() or "the first"
    end = "the end of the table" if fact.end is None else f"before {fact.end.hex()}"
    lines = [f"- table {_name(fact.table)} has, from key {start} to {end}, these rows and no others:"]
    lines += [f"    {row.key.hex()}: {_printable(row.values)!r}" for row in fact.rows] or ["    (none)"]
    return lines


def _event_text(event: Value) -> str:
    match event:
        case [str() as contract, str() as name, list() as values]:
            return f"{_name(contract)}.{_name(name)} {_printable(values)!r}"
    return repr(_printable(event))
