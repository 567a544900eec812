"""A table's schema: how its rows become store keys, index keys and canonical bytes.

The key functions are generated once for each table from its declaration, because every read and write passes
through them. Key components are ordered and self-delimiting (docs/spec/encoding.md), so that a prefix of a key's
components is a prefix of its bytes, and no key of a table is a prefix of another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from guildbook.primitives import ordered
from guildbook.primitives.identifiers import CODE_PATTERN
from guildbook.state import layout
from guildbook.state.record import FieldSpec, Record, bad_declaration, checker, field_specs, metadata_of

_ENCODERS = {
    "bool": "_bool({0})",
    "text": "_text({0})",
    "bytes": "_bytes({0})",
    "digest": "_digest({0})",
}

IDENTIFIER_KINDS = ("text", "bytes", "digest")
CHANGES_KEPT_MAX = 1_024
WATCHED_TABLES = (
    "parties.keys",
    "parties.parties",
    "parties.organisations",
    "parties.organisation_roles",
    "parties.party_roles",
)
"""Tables whose content decides who may act: an overlay counts the writes to them, so that readers may remember."""


def _component(spec: FieldSpec, value: str, *, checked: bool = False) -> str:
    """The Python expression which encodes ``value`` as a key component of the kind of ``spec``.

    Integers and text without zeros are written in place, since the call would cost more than the work. ``checked``
    values are fields of a row that was found within its bounds, so nothing about them is asked again.
    """
    plain = _ENCODERS.get(spec.kind, "").format(value)
    if spec.kind in ("int", "timestamp"):
        plain = f"({value} + {1 << 63}).to_bytes(8, 'big')"
    elif checked and spec.kind == "digest":
        plain = value
    elif checked and spec.kind == "text" and _never_zero(spec):
        plain = f"({value}.encode() + b'\\x00\\x00')"
    elif spec.kind == "text":
        plain = f"({value}.encode() + b'\\x00\\x00' if '\\x00' not in {value} else _text({value}))"
    return f"(b'\\x00' if {value} is None else b'\\x01' + {plain})" if spec.optional else plain


def _never_zero(spec: FieldSpec) -> bool:
    """Whether the bounds of a text field keep the zero character out."""
    if spec.choices:
        return not any("\0" in choice for choice in spec.choices)
    return any(
        isinstance(one, msgspec.Meta) and one.pattern == CODE_PATTERN for one in metadata_of(spec.annotation)
    )


def _function(arguments: str, expression: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {
        "_bool": ordered.encode_bool,
        "_text": ordered.encode_text,
        "_bytes": ordered.encode_bytes,
        "_digest": ordered.encode_digest,
    }
    exec(f"def made({arguments}):\n    return {expression}", scope)  # noqa: S102 - text made from declared names
    made: Callable[..., Any] = scope["made"]
    return made


class IndexSchema:
    """One declared order over a table's rows: ``fields`` first, then the rest of the primary key."""

    def __init__(
        self, table: str, fields: tuple[str, ...], specs: dict[str, FieldSpec], key_fields: tuple[str, ...]
    ) -> None:
        self.fields = fields
        self.prefix = layout.INDEXES + table.encode() + b"\0" + ",".join(fields).encode() + b"\0"
        self.names = frozenset(fields)
        self.order = fields + tuple(name for name in key_fields if name not in fields)
        parts = [f" + {_component(specs[name], 'row.' + name, checked=True)}" for name in self.order]
        self.key_of: Callable[[Any], bytes] = _function("row", repr(self.prefix) + "".join(parts))
        self.group_size = next(
            (place for place, name in enumerate(fields) if specs[name].kind not in IDENTIFIER_KINDS), len(fields)
        )
        """How many leading fields identify something; 0 for an order that begins with a number or a time."""
        self.group_of: Callable[[Any], bytes] = _function(
            "row", repr(self.prefix) + "".join(parts[: self.group_size])
        )
        self.rests: tuple[Callable[[Any], tuple[Any, ...]], ...] = tuple(
            _function("row", f"({''.join(f'row.{name},' for name in self.order[self.group_size : n])})")
            for n in range(len(self.order) + 1)
        )
        """By the number of components that are given: those of a row behind its group."""
        self.prefixes: tuple[Callable[..., bytes], ...] = tuple(
            _function(
                ", ".join(f"a{i}" for i in range(n)),
                repr(self.prefix)
                + "".join(f" + {_component(specs[self.order[i]], f'a{i}')}" for i in range(n)),
            )
            for n in range(len(self.order) + 1)
        )


class TableSchema:
    """The derived facts of one table.

    ``name`` is ``contract.table``; ``fields`` are in encoding order; ``key_fields`` and ``indexes`` name fields.
    """

    def __init__(self, name: str, record: type[Record], indexes: tuple[tuple[str, ...], ...] = ()) -> None:
        if not record.__key_fields__:
            raise bad_declaration(
                name, f"the record {record.__name__} has no key", "mark its primary key: id: int = key()"
            )
        self.name = name
        self.record = record
        self.doc = (record.__doc__ or "").strip()
        self.fields = field_specs(record)
        self.key_fields = record.__key_fields__
        self.key_names = frozenset(self.key_fields)
        self.watched = name in WATCHED_TABLES
        self.row_prefix = layout.ROWS + name.encode() + b"\0"
        specs = {spec.name: spec for spec in self.fields}
        for index in indexes:
            for field in index:
                if field not in specs or specs[field].kind == "json":
                    raise bad_declaration(
                        name,
                        f"index {index}: {field!r} is not a plain field of {record.__name__}",
                        f"choose from {', '.join(specs)}",
                    )
            if len(set(index)) != len(index):
                raise bad_declaration(name, f"index {index} names a field twice", "name each field once")
        self.indexes = tuple(IndexSchema(name, index, specs, self.key_fields) for index in indexes)
        if len({index.fields for index in self.indexes}) != len(self.indexes):
            raise bad_declaration(name, "an index is declared twice", "declare each order once")
        self.index_by_fields = {index.fields: index for index in self.indexes}
        count = len(self.key_fields)
        self.key_prefixes: tuple[Callable[..., bytes], ...] = tuple(
            _function(
                ", ".join(f"a{i}" for i in range(n)),
                repr(self.row_prefix)
                + "".join(f" + {_component(specs[self.key_fields[i]], f'a{i}')}" for i in range(n)),
            )
            for n in range(count + 1)
        )
        self.key: Callable[..., bytes] = self.key_prefixes[count]
        self.key_of: Callable[[Any], bytes] = _function(
            "row",
            repr(self.row_prefix)
            + "".join(
                f" + {_component(specs[name_], 'row.' + name_, checked=True)}" for name_ in self.key_fields
            ),
        )
        self.broken_field = checker(record)
        self.encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        """The canonical bytes of a row that ``broken_field`` found whole."""
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(record).decode
        """The row in bytes read back from the store, where only this table's own encoding is kept."""
        self._changes: dict[tuple[str, ...], Change] = {}

    def change_of(self, names: tuple[str, ...]) -> "Change":
        """What an update of the fields ``names`` has to look at; fields that the record lacks are left out."""
        known = self._changes.get(names)
        if known is None:
            fields = tuple(spec.name for spec in self.fields if spec.name in names)
            moved = tuple(one for one in self.indexes if not one.names.isdisjoint(fields))
            known = Change(checker(self.record, fields), moved)
            if len(self._changes) < CHANGES_KEPT_MAX:
                self._changes[names] = known
        return known


class Change(NamedTuple):
    """An update of certain fields of a whole row: the check of these fields alone, which names the first that breaks
    its bounds, and the indexes whose keys they are part of.
    """

    broken_field: Callable[[Any], str | None]
    indexes: tuple[IndexSchema, ...]
