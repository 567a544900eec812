"""The law of evidence: what was exported verifies, and whatever was changed in it is refused, saying at which
step."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.format import SEAL_SIZE_BYTES, EvidenceError, decode_evidence, encode_evidence, seal
from guildbook.evidence.reference_canonical import decode_value, encode_value
from guildbook.evidence.trust import Trust
from guildbook.evidence.verify import STEPS, AbsenceFact, RangeFact, ReceiptFact, verify
from simulated_ledger import TABLE, SimulatedLedger, busy_ledger, row_key

RECEIPT_SIZE_BYTES_MAX = 8_192


@cache
def ledger() -> SimulatedLedger:
    """Validators change twice, so the evidence has handovers; one vote is absent from each commit."""
    made = SimulatedLedger({1: 10, 2: 10, 3: 10, 4: 10})
    made.add_block(absent=[4])
    made.add_block(range(7), next_powers={1: 10, 2: 10, 3: 10, 5: 9}, absent=[4])
    made.add_block(range(7, 12), absent=[5])
    made.add_block(range(12, 14), next_powers={2: 10, 3: 10, 5: 9}, absent=[1])
    made.add_block(range(14, 30))
    made.add_block(deletes=[20])
    made.add_block()
    return made


@cache
def simple_ledger() -> SimulatedLedger:
    return busy_ledger()


def export(source: SimulatedLedger) -> dict[str, bytes]:
    transactions = source.transactions()
    return {
        "receipt": receipt_evidence(source, transactions[8]),
        "rejected receipt": receipt_evidence(source, transactions[9], with_envelope=False),
        "row": row_evidence(source, TABLE, row_key(9)),
        "absence": row_evidence(source, TABLE, row_key(20)),
        "range": range_evidence(source, TABLE, row_key(18), row_key(22)),
    }


@cache
def samples() -> dict[str, bytes]:
    return export(ledger())


@cache
def simple_samples() -> dict[str, bytes]:
    return export(simple_ledger())


KINDS = ("receipt", "rejected receipt", "row", "absence", "range")


def refusal(data: bytes, trust: Trust) -> EvidenceError:
    """The refusal of a file, which must name its step."""
    with pytest.raises(EvidenceError) as caught:
        verify(data, trust)
    step = caught.value.fields["step"]
    assert step in STEPS
    assert caught.value.code.startswith("evidence.")
    assert caught.value.hint
    assert f"step {STEPS.index(step) + 1} of {len(STEPS)} ({step})" in caught.value.message
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_exported_verifies_and_is_written_in_one_way(kind: str) -> None:
    for data, source in ((samples()[kind], ledger()), (simple_samples()[kind], simple_ledger())):
        verdict = verify(data, source.trust())
        assert verdict.kind == kind.removeprefix("rejected ")
        assert verdict.steps == STEPS
        assert encode_evidence(decode_evidence(data)) == data


@given(st.sets(st.integers(0, 60), max_size=25), st.integers(1, 6), st.data())
def test_any_ledger_can_prove_all_it_holds_and_all_it_lacks(
    numbers: set[int], per_block: int, data: st.DataObject
) -> None:
    source = SimulatedLedger()
    source.add_block()
    ordered = data.draw(st.permutations(sorted(numbers)))
    for first in range(0, len(ordered), per_block):
        source.add_block(ordered[first : first + per_block])
    source.add_block()
    trust = source.trust()
    for number in range(0, 61, 7):
        verdict = verify(row_evidence(source, TABLE, row_key(number)), trust)
        assert verdict.kind == ("row" if number in numbers else "absence")
    start, end = sorted((data.draw(st.integers(0, 60)), data.draw(st.integers(61, 62))))
    verdict = verify(range_evidence(source, TABLE, row_key(start), row_key(end)), trust)
    assert [row.values[0] for row in verdict.fact.rows] == sorted(n for n in numbers if start <= n < end)  # type: ignore[union-attr, index]
    for transaction in source.transactions()[::5]:
        file = receipt_evidence(source, transaction)
        assert verify(file, trust).fact.transaction == transaction  # type: ignore[union-attr]


def test_a_receipt_with_sixteen_validators_and_a_handover_stays_small() -> None:
    powers = dict.fromkeys(range(1, 17), 10)
    source = SimulatedLedger(powers)
    source.add_block()
    source.add_block(range(20))
    source.add_block()
    assert len(receipt_evidence(source, source.transactions()[0])) < RECEIPT_SIZE_BYTES_MAX
    assert len(samples()["receipt"]) < RECEIPT_SIZE_BYTES_MAX


# --- nothing can be changed ---------------------------------------------------------------------------------


def expect_no_forgery(data: bytes, original: bytes, trust: Trust) -> None:
    """A file that was changed and sealed again is refused, or makes another true statement and says which.

    The latter happens to absences and to the bounds of ranges, where the proof for one gap between keys serves all
    of it, and to a receipt whose transaction was left out.
    """
    try:
        verdict = verify(data, trust)
    except EvidenceError:
        return
    before = verify(original, trust)
    assert replace(verdict, fact=before.fact) == before
    assert verdict.fact != before.fact
    match verdict.fact:
        case AbsenceFact(table, key):
            assert true_source(trust).row(table, key) is None
        case RangeFact(table, start, end, rows):
            assert [(row.key, row.row) for row in rows] == true_source(trust).rows(table, start, end)
        case ReceiptFact(signed=None):
            assert isinstance(before.fact, ReceiptFact)
            assert verdict.fact == replace(before.fact, signed=None)
        case fact:
            pytest.fail(f"a changed file proves {fact}")


def true_source(trust: Trust) -> SimulatedLedger:
    return ledger() if trust == ledger().trust() else simple_ledger()


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_of_a_file_can_be_changed(kind: str) -> None:
    data, trust = samples()[kind], ledger().trust()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        assert refusal(bytes(damaged), trust).fields["step"] == "form"


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_of_a_file_can_be_changed_and_sealed_again(kind: str) -> None:
    """Not only the seal holds: every byte is an input of some other check."""
    data, trust = simple_samples()[kind], simple_ledger().trust()
    for position in range(len(data) - SEAL_SIZE_BYTES):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        expect_no_forgery(seal(bytes(damaged[:-SEAL_SIZE_BYTES])), data, trust)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [0x01, 0x08, 0x80, 0xFF])
def test_no_bit_of_a_file_with_handovers_can_be_changed(kind: str, pattern: int) -> None:
    data, trust = samples()[kind], ledger().trust()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= pattern
        refusal(bytes(damaged), trust)
        if position < len(data) - SEAL_SIZE_BYTES:
            expect_no_forgery(seal(bytes(damaged[:-SEAL_SIZE_BYTES])), data, trust)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_can_be_cut_short_or_extended(kind: str) -> None:
    data, trust = simple_samples()[kind], simple_ledger().trust()
    for size in range(0, len(data), 7):
        assert refusal(data[:size], trust).fields["step"] == "form"
    for tail in (b"\0", b"\xc0", data):
        assert refusal(data + tail, trust).fields["step"] == "form"
        assert refusal(tail + data, trust).fields["step"] == "form"


@pytest.mark.parametrize("kind", KINDS)
@given(edit=st.data())
def test_no_run_of_bytes_can_be_replaced(kind: str, edit: st.DataObject) -> None:
    data = samples()[kind]
    damaged = bytearray(data)
    start = edit.draw(st.integers(0, len(data)))
    end = edit.draw(st.integers(start, min(len(data), start + 40)))
    damaged[start:end] = edit.draw(st.binary(max_size=40))
    if bytes(damaged) != data:
        refusal(bytes(damaged), ledger().trust())
        if bytes(damaged[:-SEAL_SIZE_BYTES]) != data[:-SEAL_SIZE_BYTES]:
            expect_no_forgery(seal(bytes(damaged[:-SEAL_SIZE_BYTES])), data, ledger().trust())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    refusal(data, ledger().trust())


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.text(max_size=4),
    st.binary(max_size=70),
)


@given(st.sampled_from(KINDS), st.data())
def test_a_file_with_any_value_of_any_other_type_is_refused(kind: str, draw: st.DataObject) -> None:
    """The seal is right and the encoding canonical; only one value, anywhere, is another."""
    tree = decode_value(samples()[kind])
    place: Any = tree
    while True:
        index = draw.draw(st.integers(0, len(place) - 1))
        if not isinstance(place[index], list) or not place[index] or draw.draw(st.integers(0, 3)) == 0:
            break
        place = place[index]
    place[index] = draw.draw(st.one_of(scalars, st.lists(scalars, max_size=3)))
    changed = seal(encode_value(tree)[:-SEAL_SIZE_BYTES])
    if changed != samples()[kind]:
        expect_no_forgery(changed, samples()[kind], ledger().trust())


def parts_of(evidence: Any) -> list[tuple[Any, str]]:
    """All places of a file where another file's content could be put: (record, field)."""
    found = []
    for record in (evidence, evidence.subject, evidence.anchor):
        found += [(record, field.name) for field in fields(record)]
    return found


def with_part(evidence: Any, record: Any, name: str, value: Any) -> Any:
    changed = replace(record, **{name: value})
    if record is evidence.subject:
        return replace(evidence, subject=changed)
    return replace(evidence, anchor=changed) if record is evidence.anchor else changed


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_of_a_file_can_be_taken_from_another_file(kind: str) -> None:
    """Every part of one file, put into another of the same network and kind, or of the same ledger with other
    content."""
    trust = ledger().trust()
    transactions = ledger().transactions()
    others = {
        "receipt": [receipt_evidence(ledger(), transactions[n]) for n in (7, 12, 29)],
        "rejected receipt": [receipt_evidence(ledger(), transactions[n]) for n in (4, 8, 14)],
        "row": [row_evidence(ledger(), TABLE, row_key(n)) for n in (8, 25)],
        "absence": [row_evidence(ledger(), TABLE, row_key(n)) for n in (31, 90)],
        "range": [
            range_evidence(ledger(), TABLE, row_key(a), row_key(b)) for a, b in ((18, 21), (19, 22), (0, 40))
        ],
    }[kind] + [simple_samples()[kind]]
    evidence = decode_evidence(samples()[kind])
    swapped = 0
    for other_data in others:
        other = decode_evidence(other_data)
        for (record, name), (other_record, _) in zip(parts_of(evidence), parts_of(other), strict=True):
            value = getattr(other_record, name)
            if value == getattr(record, name) or name in ("subject", "anchor", "envelope"):
                continue
            expect_no_forgery(
                encode_evidence(with_part(evidence, record, name, value)), samples()[kind], trust
            )
            swapped += 1
    assert swapped >= 3
