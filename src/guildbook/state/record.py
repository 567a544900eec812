"""Records: the typed rows of a contract's tables, and the field types they are made of.

Theory. A record is a frozen structure whose canonical encoding is the MessagePack array of its fields in the
order of declaration (docs/spec/encoding.md). Its primary key is one or more fields marked with ``key()``. The
declaration is the single truth: from it come the bounds that are checked before a row is written, the
order-preserving key, the SQL columns, the argument checks of commands and the reference pages.

Bounds are checked twice on purpose: arguments are checked when a transaction is decoded (a caller's mistake is
refused), and every row and event is checked when a contract writes it (an author's mistake can never be stored).
"""

import enum
import re
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, dataclass_transform

import msgspec

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.identifiers import CODE_CHARACTERS_MAX, CODE_PATTERN

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
NAME_CHARS_MAX = 200
TEXT_CHARS_MAX = 1000
BLOB_SIZE_BYTES_MAX = 4096
SOURCE_CHARS_MAX = 262_144
TUPLE_ITEMS_MAX = 256
KEY_SIZE_BYTES_MAX = 384
KNOWN_TEXTS_MAX = 8_192


class Marker:
    """The kind of a field type where its Python type alone does not tell it (``timestamp``, ``digest``)."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


Int = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
"""Any signed 64-bit integer."""
Amount = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
"""Money or units in minor units, signed, 64 bits."""
NonNegative = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
"""An integer from 0 to 2**63 - 1."""
Positive = Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)]
"""An integer from 1 to 2**63 - 1."""
Height = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
"""A block height; 0 is genesis."""
Timestamp = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX), Marker("timestamp")]
"""UTC time in whole milliseconds since 1970-01-01T00:00:00Z."""
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=CODE_CHARACTERS_MAX, pattern=CODE_PATTERN)]
"""A short identifier: 1 to 64 of ``A-Z a-z 0-9 . _ : @ / -``."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
"""A human name, 1 to 200 characters."""
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]
"""Free text of at most 1000 characters."""
SourceText = Annotated[str, msgspec.Meta(max_length=SOURCE_CHARS_MAX)]
"""The source text of a contract, at most 262144 characters."""
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32), Marker("digest")]
"""A SHA-256 digest: exactly 32 bytes."""
PublicKeyBytes = Annotated[bytes, msgspec.Meta(min_length=2, max_length=4096)]
"""A public key on the wire: one algorithm byte and the raw key (docs/spec/keys.md)."""
Blob = Annotated[bytes, msgspec.Meta(max_length=BLOB_SIZE_BYTES_MAX)]
"""Opaque bytes, at most 4096."""


class KeyField:
    """What ``key()`` leaves in a class body until the record is built."""


def key() -> Any:
    """Mark a field as part of the primary key; the key's order is the order of declaration."""
    return KeyField()


if TYPE_CHECKING:
    # Type checkers see the constructor that RecordMeta makes: keyword-only, frozen, key() without a default.
    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(key,))
    class _Declared:
        __struct_fields__: ClassVar[tuple[str, ...]]
        __key_fields__: ClassVar[tuple[str, ...]]

    class Record(_Declared):
        """Base of table rows and of small values inside rows. Fields are declared as annotated attributes."""

    class Event(_Declared):
        """Base of events: facts that a command states in its receipt."""

else:

    class RecordMeta(msgspec.StructMeta):
        """Builds a record: notes the ``key()`` fields, then makes a frozen keyword-only array structure."""

        def __new__(mcs, name, bases, namespace, **options):
            """Return the new record class; ``__key_fields__`` holds the names of its primary key."""
            keys = tuple(field for field, value in namespace.items() if isinstance(value, KeyField))
            for field in keys:
                del namespace[field]
            settings = {
                "frozen": True,
                "array_like": True,
                "kw_only": True,
                "gc": False,
                "forbid_unknown_fields": True,
                **options,
            }
            built = super().__new__(mcs, name, bases, namespace, **settings)
            if keys:
                built.__key_fields__ = keys
            return built

    class Record(msgspec.Struct, metaclass=RecordMeta):
        """Base of table rows and of small values inside rows. Fields are declared as annotated attributes."""

        __key_fields__: ClassVar[tuple[str, ...]] = ()

    class Event(msgspec.Struct, metaclass=RecordMeta):
        """Base of events: facts that a command states in its receipt."""


class FieldSpec(msgspec.Struct, frozen=True):
    """One field of a record or event.

    ``kind`` is one of ``int timestamp bool text bytes digest json``; ``json`` is a tuple. ``choices`` are the
    values of an enumeration, in order of declaration, else empty.
    """

    name: str
    kind: str
    optional: bool
    is_key: bool
    annotation: Any
    choices: tuple[str, ...] = ()
    has_default: bool = False


def bad_declaration(owner: str, message: str, hint: str) -> GuildbookError:
    """The error for a record, event, rejection or contract that is declared wrongly."""
    return GuildbookError("contract.bad_declaration", f"{owner}: {message}", hint=hint)


def _unwrap(annotation: Any) -> tuple[Any, bool, list[Any]]:
    """Split an annotation into (plain type, optional, metadata)."""
    metadata: list[Any] = []
    optional = False
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation, *extra = typing.get_args(annotation)
            metadata.extend(extra)
        elif origin in (typing.Union, types.UnionType):
            rest = [one for one in typing.get_args(annotation) if one is not type(None)]
            if len(rest) != 1:
                return annotation, False, metadata
            optional = optional or len(rest) < len(typing.get_args(annotation))
            annotation = rest[0]
        else:
            return annotation, optional, metadata


def metadata_of(annotation: Any) -> list[Any]:
    """What ``Annotated`` adds to a field's type: msgspec bounds and markers."""
    return _unwrap(annotation)[2]


def _kind(plain: Any, metadata: list[Any]) -> str | None:
    for one in metadata:
        if isinstance(one, Marker):
            return one.kind
    if plain is bool:
        return "bool"
    if plain is int:
        return "int"
    if plain is str or (isinstance(plain, type) and issubclass(plain, enum.StrEnum)):
        return "text"
    if plain is bytes:
        return "bytes"
    if typing.get_origin(plain) is tuple:
        items = typing.get_args(plain)
        return "json" if len(items) == 2 and items[1] is Ellipsis else None
    return None


def field_specs(owner: type) -> tuple[FieldSpec, ...]:
    """The fields of a record, event or rejection class in order of declaration.

    Raises GuildbookError ``contract.bad_declaration`` for a type that is not allowed (floats, dicts, sets, any).
    """
    keys = getattr(owner, "__key_fields__", ())
    defaults = getattr(owner, "__struct_defaults__", ())
    names = getattr(owner, "__struct_fields__", None)
    hints = typing.get_type_hints(owner, include_extras=True)
    if names is None:
        names = tuple(name for name in owner.__annotations__ if not name.startswith("_"))
    with_default: set[str] = set()
    if defaults:
        with_default = {
            name
            for name, value in zip(names[-len(defaults) :], defaults, strict=True)
            if value is not msgspec.NODEFAULT
        }
    specs = []
    for name in names:
        plain, optional, metadata = _unwrap(hints[name])
        kind = _kind(plain, metadata)
        if kind is None:
            raise bad_declaration(
                f"{owner.__name__}.{name}",
                f"the type {hints[name]!r} cannot be stored",
                "use int, bool, Code, Text, Digest, Blob, Timestamp, a StrEnum, a tuple[X, ...] of those, or X | None",
            )
        if name in keys and (kind == "json" or (optional and kind == "json")):
            raise bad_declaration(
                f"{owner.__name__}.{name}",
                "a tuple cannot be part of a key",
                "use one field for each part of the key",
            )
        choices = (
            tuple(one.value for one in plain)
            if isinstance(plain, type) and issubclass(plain, enum.StrEnum)
            else ()
        )
        specs.append(
            FieldSpec(name, kind, optional, name in keys, hints[name], choices, name in with_default)
        )
    return tuple(specs)


def _checks(value: str, annotation: Any, scope: dict[str, Any]) -> str:
    """A Python expression that is true when ``value`` fits ``annotation``; helpers go into ``scope``."""
    plain, optional, metadata = _unwrap(annotation)
    meta = [one for one in metadata if isinstance(one, msgspec.Meta)]
    low = max([one.ge for one in meta if one.ge is not None], default=INT64_MIN)
    high = min([one.le for one in meta if one.le is not None], default=INT64_MAX)
    shortest = max([one.min_length for one in meta if one.min_length is not None], default=0)
    longest = min([one.max_length for one in meta if one.max_length is not None], default=None)
    if plain is bool:
        test = f"({value} is True or {value} is False)"
    elif plain is int:
        test = f"(type({value}) is int and {low} <= {value} <= {high})"
    elif plain is str or plain is bytes:
        limit = BLOB_SIZE_BYTES_MAX if longest is None else longest
        test = f"(type({value}) is {plain.__name__} and {shortest} <= len({value}) <= {limit}"
        for one in meta:
            if one.pattern is not None:
                known, label = f"_known{len(scope)}", f"_match{len(scope)}"
                scope[known], scope[label] = _pattern_check(one.pattern)
                test += f" and ({value} in {known} or {label}({value}))"
        test += ")"
    elif isinstance(plain, type) and issubclass(plain, enum.StrEnum):
        label = f"_enum{len(scope)}"
        scope[label] = plain
        test = f"(type({value}) is {label})"
    elif typing.get_origin(plain) is tuple:
        item = typing.get_args(plain)[0]
        test = (
            f"(type({value}) is tuple and len({value}) <= {TUPLE_ITEMS_MAX}"
            f" and all({_checks('_item', item, scope)} for _item in {value}))"
        )
    elif isinstance(plain, type) and issubclass(plain, Record):
        label, check = f"_type{len(scope)}", f"_check{len(scope)}"
        scope[label] = plain
        scope[check] = checker(plain)
        test = f"(type({value}) is {label} and {check}({value}) is None)"
    else:
        raise bad_declaration(
            str(plain), "this type cannot be checked", "use the types of guildbook.contract"
        )
    return f"({value} is None or {test})" if optional else test


def _pattern_check(pattern: str) -> tuple[set[str], Callable[[str], bool]]:
    """A set of texts known to match, and the check that fills it: a few identifiers come again and again."""
    search = re.compile(pattern).search
    known: set[str] = set()

    def matches(text: str) -> bool:
        if search(text) is None:
            return False
        if len(known) >= KNOWN_TEXTS_MAX:
            known.clear()
        known.add(text)
        return True

    return known, matches


def checker(owner: type, names: tuple[str, ...] | None = None) -> Callable[[Any], str | None]:
    """A function that returns the name of the first field of an instance which breaks its bounds, or None.

    The function is generated once for each class, since every write of every contract passes through it.
    """
    hints = typing.get_type_hints(owner, include_extras=True)
    fields = names if names is not None else tuple(getattr(owner, "__struct_fields__", owner.__annotations__))
    scope: dict[str, Any] = {}
    lines = ["def check(row):"]
    for name in fields:
        lines.append(f"    _v = row.{name}")
        lines.append(f"    if not {_checks('_v', hints[name], scope)}: return {name!r}")
    lines.append("    return None")
    exec("\n".join(lines), scope)  # noqa: S102 - the text is made here from declared field names alone
    return typing.cast(Callable[[Any], str | None], scope["check"])


def snake_case(name: str) -> str:
    """``NotEnoughUnits`` -> ``not_enough_units``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
