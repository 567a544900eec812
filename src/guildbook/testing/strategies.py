"""Hypothesis strategies from declarations: arguments of commands, rows, and values of every field type.

    @given(arguments_of(Points.commands["issue"]))
    def test_no_well_typed_issue_is_a_fault(arguments): ...

``known`` names values that are likely to exist (members, programmes), so that generated calls reach deep into a
contract and are not all refused at the first guard. This module needs ``hypothesis``, which comes with the development
packages.
"""

import enum
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from guildbook.contract.contract import CommandSpec, QuerySpec
from guildbook.runtime.arguments import item_type
from guildbook.state.record import (
    BLOB_SIZE_BYTES_MAX,
    INT64_MAX,
    INT64_MIN,
    FieldSpec,
    Record,
    field_specs,
    metadata_of,
)

ITEMS_MAX = 4
TEXT_CHARS_MAX = 24
TIME_MS_MAX = 4_102_444_800_000
"""2100-01-01, beyond which few tests look."""
CODE_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@/-"


def integers(low: int = INT64_MIN, high: int = INT64_MAX) -> st.SearchStrategy[int]:
    """Integers within bounds: small ones mostly, and those at and beside the bounds."""
    near = [value for value in (low, low + 1, -1, 0, 1, 2, high - 1, high) if low <= value <= high]
    small = st.integers(max(low, -100), min(high, 1_000)) if low <= 1_000 and high >= -100 else st.nothing()
    return st.one_of(small, st.sampled_from(sorted(set(near))), st.integers(low, high))


def codes() -> st.SearchStrategy[str]:
    """Codes: 1 to 64 of the characters that a code may have."""
    return st.text(CODE_ALPHABET, min_size=1, max_size=TEXT_CHARS_MAX)


def values_of(spec: FieldSpec, known: Mapping[str, Sequence[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Values that fit a field; where ``known`` has values for the field's name, mostly those."""
    made = _plain_values(spec, known)
    likely = (known or {}).get(spec.name)
    if likely:
        made = st.one_of(st.sampled_from(list(likely)), st.sampled_from(list(likely)), made)
    return st.none() | made if spec.optional else made


def _plain_values(spec: FieldSpec, known: Mapping[str, Sequence[Any]] | None) -> st.SearchStrategy[Any]:
    bounds = [one for one in metadata_of(spec.annotation) if isinstance(one, msgspec.Meta)]
    shortest = max([one.min_length for one in bounds if one.min_length is not None], default=0)
    longest = min([one.max_length for one in bounds if one.max_length is not None], default=TEXT_CHARS_MAX)
    if spec.kind == "bool":
        return st.booleans()
    if spec.kind == "timestamp":
        return integers(0, TIME_MS_MAX)
    if spec.kind == "int":
        return integers(
            int(max([one.ge for one in bounds if one.ge is not None], default=INT64_MIN)),
            int(min([one.le for one in bounds if one.le is not None], default=INT64_MAX)),
        )
    if spec.kind == "digest":
        return st.binary(min_size=32, max_size=32)
    if spec.kind == "bytes":
        return st.binary(min_size=shortest, max_size=min(max(shortest, longest), 64, BLOB_SIZE_BYTES_MAX))
    if spec.kind == "text":
        if spec.choices:
            return st.sampled_from(_enumeration(spec.annotation))
        if any(one.pattern is not None for one in bounds):
            return codes()
        letters = st.characters(exclude_categories=["Cs"])
        return st.text(letters, min_size=shortest, max_size=max(shortest, min(longest, TEXT_CHARS_MAX)))
    item = item_type(spec.annotation)
    if isinstance(item, type) and issubclass(item, Record):
        items = records(item, known)
    else:
        items = values_of(field_specs(msgspec.defstruct("Item", [("item", item)]))[0])
    return st.lists(items, max_size=ITEMS_MAX).map(tuple)


def _enumeration(annotation: Any) -> list[enum.StrEnum]:
    while not isinstance(annotation, type):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    assert issubclass(annotation, enum.StrEnum), annotation
    return list(annotation)


def records(record: type[Record], known: Mapping[str, Sequence[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Rows of ``record`` within their declared bounds."""
    fields = {spec.name: values_of(spec, known) for spec in field_specs(record)}
    return st.fixed_dictionaries(fields).map(lambda chosen: record(**chosen))


def arguments_of(
    spec: CommandSpec | QuerySpec, known: Mapping[str, Sequence[Any]] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    """Well-typed arguments of a command or query, by name."""
    return st.fixed_dictionaries({one.name: values_of(one, known) for one in spec.arguments})
