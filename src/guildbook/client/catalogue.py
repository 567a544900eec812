"""The catalogue as a document: what a network's contracts offer, in a form that any program can read.

A node publishes it, and clients build calls from it without having the contracts' code: names of arguments in order,
kinds, bounds, choices and defaults. The same document drives HTTP schemas, forms and command lines, so a value has one
written form everywhere: whole numbers, text, ``true`` and ``false``; bytes as hexadecimal (public keys as key text
too, ``ed25519:...``); times as milliseconds or RFC 3339 text; enumerations by value; lists as lists, records inside
lists as objects.
"""

import enum
import json
import re
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from guildbook.contract.contract import CommandSpec, EventSchema, QuerySpec
from guildbook.contract.rejected import Rejected
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import parse_key_text
from guildbook.runtime.arguments import bad_arguments, to_json, value_from_json
from guildbook.runtime.catalogue import Catalogue
from guildbook.state.record import FieldSpec, Record, field_specs
from guildbook.state.schema import TableSchema

_INTEGER = re.compile(r"-?[0-9]{1,20}\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FieldDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field or argument.

    ``kind`` is one of ``int timestamp bool text bytes digest json record``: ``json`` is a list of ``items``, and
    ``record`` an object of ``fields``. ``minimum`` and ``maximum`` bound an integer's value, and the length of text
    (characters), bytes (bytes) and lists (items). ``default`` is in written form and has a meaning when ``required``
    is false.
    """

    name: str
    kind: str
    optional: bool = False
    key: bool = False
    required: bool = True
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    pattern: str = ""
    items: "FieldDocument | None" = None
    fields: "tuple[FieldDocument, ...]" = ()


class CommandDocument(msgspec.Struct, frozen=True):
    """A command: ``permission`` is what its signer needs (None: any active party may call it)."""

    contract: str
    name: str
    permission: str | None
    callers_only: bool
    arguments: tuple[FieldDocument, ...]
    doc: str


class QueryDocument(msgspec.Struct, frozen=True):
    """A computed read."""

    contract: str
    name: str
    arguments: tuple[FieldDocument, ...]
    doc: str


class EventKindDocument(msgspec.Struct, frozen=True):
    """A kind of event."""

    contract: str
    name: str
    fields: tuple[FieldDocument, ...]
    doc: str


class TableDocument(msgspec.Struct, frozen=True):
    """A table: ``key`` names the fields of its primary key in order, ``indexes`` its declared orders."""

    name: str
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]
    fields: tuple[FieldDocument, ...]
    doc: str


class RejectionDocument(msgspec.Struct, frozen=True):
    """A refusal of a contract."""

    code: str
    message: str
    fields: tuple[FieldDocument, ...]


class ContractDocument(msgspec.Struct, frozen=True):
    """A running contract: ``source`` is the SHA-256 of its text in hexadecimal."""

    name: str
    version: int
    source: str
    active_from: int
    doc: str


class CatalogueDocument(msgspec.Struct, frozen=True):
    """Everything that the contracts of a network offer, by full name (``contract.name``)."""

    network: str
    contracts: dict[str, ContractDocument]
    commands: dict[str, CommandDocument]
    queries: dict[str, QueryDocument]
    events: dict[str, EventKindDocument]
    tables: dict[str, TableDocument]
    rejections: dict[str, RejectionDocument]

    def command(self, full_name: str) -> CommandDocument:
        """The command ``contract.name``.

        Raises GuildbookError ``call.unknown_contract`` or ``call.unknown_command``.
        """
        return _named(self, self.commands, full_name, "command")

    def query(self, full_name: str) -> QueryDocument:
        """The query ``contract.name``; raises GuildbookError ``call.unknown_contract`` or ``call.unknown_command``."""
        return _named(self, self.queries, full_name, "query")

    def table(self, full_name: str) -> TableDocument:
        """The table ``contract.name``; raises GuildbookError ``call.unknown_contract`` or ``api.not_found``."""
        return _named(self, self.tables, full_name, "table")


Declared = typing.TypeVar("Declared")


def _named(
    document: CatalogueDocument, declared: Mapping[str, Declared], full_name: str, what: str
) -> Declared:
    found = declared.get(full_name)
    if found is not None:
        return found
    contract, _dot, name = full_name.partition(".")
    if contract not in document.contracts:
        raise GuildbookError(
            "call.unknown_contract",
            f"no contract {contract[:80]!r} runs on {document.network}",
            hint=f"choose from {', '.join(document.contracts)}",
            contract=contract[:80],
        )
    names = [one.partition(".")[2] for one in declared if one.startswith(contract + ".")]
    raise GuildbookError(
        "api.not_found" if what == "table" else "call.unknown_command",
        f"{contract} has no {what} {name[:80]!r}",
        hint=f"choose from {', '.join(names) or 'none'}",
        contract=contract,
        name=name[:80],
    )


# describing ------------------------------------------------------------------------------------------------------


def describe_field(spec: FieldSpec, default: Any = msgspec.NODEFAULT) -> FieldDocument:
    """The document of one declared field; ``default`` is its default value, if it has one."""
    item = _item_of(spec.annotation) if spec.kind == "json" else None
    low, high, pattern = _bounds(spec.annotation)
    return FieldDocument(
        name=spec.name,
        kind=spec.kind,
        optional=spec.optional,
        key=spec.is_key,
        choices=spec.choices,
        minimum=low,
        maximum=high,
        pattern=pattern,
        items=None if item is None else _describe_item(item),
        required=default is msgspec.NODEFAULT,
        default=None if default is msgspec.NODEFAULT else to_json(default),
    )


def _describe_item(annotation: Any) -> FieldDocument:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return FieldDocument("item", "record", fields=_describe_struct(annotation))
    return describe_field(field_specs(msgspec.defstruct("Item", [("item", annotation)]))[0])


def _describe_struct(structure: Any) -> tuple[FieldDocument, ...]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(structure)}
    return tuple(describe_field(spec, defaults[spec.name]) for spec in field_specs(structure))


def _plain_annotation(annotation: Any) -> Any:
    """The annotation without ``Annotated`` and ``| None``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _plain_annotation(typing.get_args(annotation)[0])
    rest = [one for one in typing.get_args(annotation) if one is not type(None)]
    if type(None) in typing.get_args(annotation) and len(rest) == 1:
        return _plain_annotation(rest[0])
    return annotation


def _item_of(annotation: Any) -> Any:
    """What a ``tuple[X, ...]`` holds."""
    return typing.get_args(_plain_annotation(annotation))[0]


def _bounds(annotation: Any) -> tuple[int | None, int | None, str]:
    """(lowest, highest, pattern) of an annotation: of an integer's value, or of a length."""
    info: Any = msgspec.inspect.type_info(annotation)
    if isinstance(info, msgspec.inspect.UnionType):
        info = next(one for one in info.types if not isinstance(one, msgspec.inspect.NoneType))
    if isinstance(info, msgspec.inspect.IntType):
        return info.ge, info.le, ""
    if isinstance(info, msgspec.inspect.StrType):
        return info.min_length, info.max_length, info.pattern or ""
    if isinstance(info, (msgspec.inspect.BytesType, msgspec.inspect.VarTupleType)):
        return info.min_length, info.max_length, ""
    return None, None, ""


def _describe_arguments(spec: CommandSpec | QuerySpec) -> tuple[FieldDocument, ...]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(spec.arguments_type)}
    return tuple(describe_field(one, defaults[one.name]) for one in spec.arguments)


def _describe_table(schema: TableSchema) -> TableDocument:
    return TableDocument(
        schema.name,
        schema.key_fields,
        tuple(index.fields for index in schema.indexes),
        _describe_struct(schema.record),
        schema.doc,
    )


def _describe_event(schema: EventSchema) -> EventKindDocument:
    return EventKindDocument(
        schema.contract, schema.name, tuple(describe_field(one) for one in schema.fields), schema.doc
    )


def _describe_rejection(rejection: type[Rejected]) -> RejectionDocument:
    return RejectionDocument(
        rejection.code, rejection.message(), tuple(describe_field(one) for one in rejection.specs)
    )


def describe(
    network: str, catalogue: Catalogue, contracts: Mapping[str, ContractDocument]
) -> CatalogueDocument:
    """The document of ``catalogue``; ``contracts`` says which release of each contract runs."""
    return CatalogueDocument(
        network=network,
        contracts=dict(contracts),
        commands={
            name: CommandDocument(
                spec.contract,
                spec.name,
                spec.permission,
                spec.callers_only,
                _describe_arguments(spec),
                spec.doc,
            )
            for name, spec in catalogue.commands.items()
        },
        queries={
            name: QueryDocument(spec.contract, spec.name, _describe_arguments(spec), spec.doc)
            for name, spec in catalogue.queries.items()
        },
        events={name: _describe_event(schema) for name, schema in catalogue.events.items()},
        tables={name: _describe_table(schema) for name, schema in catalogue.tables.items()},
        rejections={code: _describe_rejection(one) for code, one in catalogue.rejections.items()},
    )


# values ----------------------------------------------------------------------------------------------------------


def value_of(field: FieldDocument, given: Any, owner: str = "") -> Any:
    """A value as a call carries it, from its written form or from a Python value.

    Raises GuildbookError ``call.bad_arguments``. Kinds are converted here; bounds are checked by the node.
    """
    if isinstance(given, enum.Enum):
        given = given.value
    if given is None:
        return None
    if field.kind == "timestamp" and isinstance(given, datetime):
        if given.tzinfo is None:
            raise bad_arguments(f"{owner}: {field.name}", "a time without a zone", "give an aware datetime")
        return (given - _EPOCH) // timedelta(milliseconds=1)
    if field.items is not None and isinstance(given, (list, tuple)):
        return tuple(value_of(field.items, one, f"{owner}: {field.name}") for one in given)
    if field.kind == "bytes" and isinstance(given, str) and ":" in given:
        return parse_key_text(given)
    if field.kind == "record":
        return _record_of(field, given, owner)
    return value_from_json(FieldSpec(field.name, field.kind, field.optional, False, None), given, owner)


def _record_of(field: FieldDocument, given: Any, owner: str) -> Any:
    if isinstance(given, msgspec.Struct):
        given = msgspec.structs.asdict(given)
    if isinstance(given, Mapping):
        return tuple(bind_named(field.fields, (), given, f"{owner}: {field.name}"))
    if isinstance(given, (list, tuple)) and len(given) == len(field.fields):
        return tuple(value_of(one, value, owner) for one, value in zip(field.fields, given, strict=True))
    names = ", ".join(one.name for one in field.fields)
    raise bad_arguments(f"{owner}: {field.name}", "not a record", f"write an object with {names}")


def bind_named(
    fields: Sequence[FieldDocument], positional: Sequence[Any], named: Mapping[str, Any], owner: str
) -> list[Any]:
    """All values in order, converted, with defaults filled in. Raises GuildbookError ``call.bad_arguments``."""
    names = [one.name for one in fields]
    signature = f"{owner}({', '.join(names)})"
    if len(positional) > len(names):
        raise bad_arguments(owner, f"{len(positional)} arguments, at most {len(names)}", signature)
    given = dict(zip(names, positional, strict=False))
    twice = sorted(set(given) & set(named))
    unknown = sorted(str(one)[:80] for one in set(named) - set(names))
    if twice or unknown:
        what = f"{twice[0]} is given twice" if twice else f"unknown argument {', '.join(unknown[:8])}"
        raise bad_arguments(owner, what, signature)
    given.update(named)
    values = []
    for field in fields:
        if field.name not in given and field.required:
            raise bad_arguments(owner, f"{field.name} is missing", signature, argument=field.name)
        values.append(value_of(field, given.get(field.name, field.default), owner))
    return values


def value_of_text(field: FieldDocument, text: str, owner: str = "") -> Any:
    """A value as a call carries it, from text as a command line or an address has it; lists are JSON text.

    Raises GuildbookError ``call.bad_arguments``.
    """
    where = f"{owner}: {field.name}" if owner else field.name
    if field.kind == "int":
        if _INTEGER.match(text) is None:
            raise bad_arguments(where, f"{text[:80]!r} is not a whole number", "write digits, in minor units")
        return int(text)
    if field.kind == "bool":
        if text not in ("true", "false"):
            raise bad_arguments(where, f"{text[:80]!r} is neither true nor false", "write true or false")
        return text == "true"
    if field.kind == "json":
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise bad_arguments(where, f"{text[:80]!r} is not JSON", 'write a list: ["a", "b"]') from None
        return value_of(field, given, owner)
    return value_of(field, text, owner)
