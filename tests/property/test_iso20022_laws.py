"""Laws of the ISO 20022 adapters: what is written reads back as it was; what is damaged is read or refused.

Records are drawn from the very tables that read and write, so that a new field is under the laws as soon as it exists.
"""

from __future__ import annotations

import functools
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.primitives.errors import GuildbookError
from guildbook.standards import amounts, times, xml
from guildbook.standards.iso20022 import WRITTEN, Message, components, read, statements, write
from guildbook.standards.iso20022.reading import KINDS
from guildbook.standards.iso20022.writing import control_sum, uetr_of
from shared_data import shared

SAFE = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
WORDS = st.text(SAFE | st.sampled_from("<>&\"'\t\n\r"), min_size=1, max_size=16).filter(
    lambda text: text == text.strip()
)
BICS = st.sampled_from(["BANKDEFF", "BANKCHZHXXX", "KREDBEBB"])
IBANS = st.sampled_from(["CH2801234000123456789", "GB33BUKB20201555555555", "NL56AGDH9619008421"])
CODES = st.sampled_from(["SALA", "CRDT", "AC01", "X", "abc"])
AMOUNTS = st.builds(
    amounts.amount, st.integers(0, 10**15), st.sampled_from(["EUR", "JPY", "BHD", "CLF", "CNY"])
) | st.sampled_from([amounts.read_amount("5442.09000", "RON"), amounts.read_amount("1.", "EUR")])
DAYS = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(times.date_at)
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(times.date_time_at) | st.sampled_from(
    [times.read_date_time("2014-12-31T13:15:00+01:00"), times.read_date_time("2025-07-24T06:10:29.000000000")]
)


def values(codec: Any) -> st.SearchStrategy[Any]:
    """What a codec can write."""
    known: dict[int, st.SearchStrategy[Any]] = {
        id(xml.DATE): DAYS,
        id(xml.DATE_TIME): MOMENTS,
        id(xml.WHEN): DAYS | MOMENTS,
        id(xml.MONEY): AMOUNTS,
        id(xml.BOOLEAN): st.booleans(),
        id(xml.COUNT): st.integers(0, 10**15 - 1),
        id(xml.DECIMAL): st.sampled_from(["0", "12.5", "-3.25", "100000000000"]),
        id(xml.CODE): CODES,
        id(components.BIC): BICS,
        id(components.IBAN): IBANS,
        id(components.LEI): st.just("529900T8BM49AURSDO55"),
        id(components.UETR): st.binary(max_size=4).map(uetr_of),
        id(components.COUNTRY): st.sampled_from(["NL", "CN"]),
        id(components.CURRENCY): st.sampled_from(["EUR", "CNY"]),
        id(components.CODE4): CODES,
        id(components.TEXT4): CODES,
        id(statements.INDICATOR): st.sampled_from(["CRDT", "DBIT"]),
    }
    if id(codec) in known:
        return known[id(codec)]
    if isinstance(codec, xml.Shape):
        return records(codec)
    if isinstance(codec, components.Either):
        agent = records(components.AGENT).map(lambda one: components.Party(agent=one))
        return records(components.PARTY) | agent
    if isinstance(codec, components.AgentAsParty):
        return records(components.AGENT).map(lambda one: components.Party(agent=one))
    if isinstance(codec, statements._Streamed):
        return records(codec.shape)
    if isinstance(codec, statements._Passed):
        return records(statements.ENTRY)
    assert isinstance(codec, xml.Leaf)
    if codec is TEXT5:
        return CODES
    return WORDS


TEXT5 = components._CLEARING.parts["ClrSysId"].parts["Cd"].codec


@functools.cache
def _records(shape: Any) -> st.SearchStrategy[Any]:
    def drawn(draw: Any) -> Any:
        fields = {}
        for _, part in xml._fields(shape.parts, ""):
            if not _written(shape.parts, part):
                continue
            needed = part.must or part.field in shape._required
            # Mostly absent: a message with everything in it would take a second to draw.
            if not needed and draw(st.integers(0, 3)):
                continue
            if part.many:
                value = tuple(draw(st.lists(values(part.codec), min_size=int(needed), max_size=2)))
            else:
                value = draw(values(part.codec))
            fields[part.field] = value
        return shape.record(**fields)

    strategy = st.composite(drawn)()
    if not shape._required:
        strategy = strategy.filter(lambda record: record != shape.record())
    return strategy


def records(shape: Any) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _records(shape))


def _written(parts: Any, wanted: Any) -> bool:
    for part in parts.values():
        if part is wanted:
            return part.written
        if isinstance(part, xml.Group) and any(found is wanted for _, found in xml._fields(part.parts, "")):
            return part.written and _written(part.parts, wanted)
    return False


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_reads_back_as_it_was(name, data):
    kind = next(kind for kind in KINDS if kind.family == name[:8])
    body = data.draw(records(kind.shape))
    written = write(name, body)
    assert read(written) == Message(name, None, body, ())
    assert write(name, body) == written


@given(st.lists(AMOUNTS, max_size=6))
def test_a_control_sum_is_the_exact_sum(chosen):
    from fractions import Fraction

    exact = sum((Fraction(one.minor, 10 ** amounts.EXPONENTS[one.currency]) for one in chosen), Fraction(0))
    assert Fraction(control_sum(chosen)) == exact


@given(st.integers(0, 10**14), st.sampled_from(sorted(amounts.EXPONENTS)), st.integers(0, 3))
def test_an_amount_is_the_same_however_it_is_padded(minor, currency, zeros):
    plain = amounts.amount(minor, currency)
    exponent = amounts.EXPONENTS[currency]
    zeros = min(zeros, amounts.DECIMALS_MAX - exponent)
    padded = plain.text + ("." if not exponent and zeros else "") + "0" * zeros
    assert amounts.read_amount(padded, currency).minor == minor
    assert amounts.amount_text(minor, currency) == plain.text


@given(st.text("0123456789.+-eE ,", max_size=24), st.sampled_from(["EUR", "JPY", "BHD", "CLF", "XXX"]))
def test_a_text_is_an_exact_amount_or_refused(text, currency):
    from fractions import Fraction

    try:
        found = amounts.read_amount(text, currency)
    except ValueError:
        return
    assert Fraction(found.minor, 10 ** amounts.EXPONENTS[currency]) == Fraction(text.rstrip("."))


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_instants_read_back_and_agree_with_the_calendar(utc_ms):
    from datetime import datetime, timedelta

    when = times.date_time_at(utc_ms)
    assert when.utc_ms == utc_ms
    assert times.date_at(utc_ms).day == when.day
    expected = datetime(1970, 1, 1) + timedelta(milliseconds=utc_ms)
    assert when.text == expected.isoformat(timespec="milliseconds") + "Z"


def damaged(data: Any, document: bytes) -> bytes:
    """A document with up to three bytes changed, left out, or put in."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document) - 1))
        new = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"<", b"&", b">", b"\0", b"\xff", b"<!DOCTYPE a>"])
        )
        document = document[:at] + new + document[at + data.draw(st.integers(0, 2)) :]
    return document


SAMPLES = (
    "camt/camt054.v8.xml", "camt/camt052.v1.xml", "camt/camt053.v3.xml", "rtp/camt029.xml", "rtp/camt056.timeout.xml",
    "rtp/pacs008.xml", "pain/pain.001.001.03/pain.001.001.03.xml", "prowide/pacs.002-CDATA.xml",
)  # fmt: skip


@pytest.mark.fuzz
@pytest.mark.parametrize("sample", SAMPLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_message_is_read_or_refused(sample, data):
    document = damaged(data, shared(f"payments/iso20022-{sample}").read_bytes())
    refused: GuildbookError | None = None
    try:
        read(document, file=sample)
    except GuildbookError as error:
        refused = error
    if refused is not None:
        assert refused.code.startswith("standards.")
        assert refused.fields["file"] == sample


@pytest.mark.fuzz
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text("<>/ab &;!?-[]\"'=", max_size=60).map(str.encode))
def test_any_bytes_are_refused_in_order(document):
    with pytest.raises(GuildbookError) as refused:
        read(document)
    assert refused.value.code.startswith("standards.")
