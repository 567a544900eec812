"""Arguments of commands and queries: from names, from JSON, and back to JSON.

On the wire a call carries all its arguments in order. People and programs outside write names and JSON: digests and
keys as hexadecimal, times as milliseconds or RFC 3339 text, enumerations by value. The conversion is driven by the
declaration and is the same for HTTP, command line, client and tests.
"""

import enum
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from guildbook.contract.contract import CommandSpec, QuerySpec
from guildbook.primitives.errors import GuildbookError
from guildbook.state.record import FieldSpec, Record, field_specs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bad_arguments(owner: str, message: str, hint: str, **fields: object) -> GuildbookError:
    """The error for arguments that do not fit a declaration."""
    return GuildbookError("call.bad_arguments", f"{owner}: {message}", hint=hint, **fields)


def signature_text(spec: CommandSpec | QuerySpec) -> str:
    """``contract.name(argument, argument=default, ...)``."""
    return f"{spec.contract}.{spec.name}({', '.join(one.name for one in spec.arguments)})"


def bind(
    spec: CommandSpec | QuerySpec, positional: Sequence[Any] = (), named: Mapping[str, Any] | None = None
) -> list[Any]:
    """All arguments in order, defaults filled in. Raises GuildbookError ``call.bad_arguments``."""
    given = dict(named or {})
    owner = f"{spec.contract}.{spec.name}"
    names = [one.name for one in spec.arguments]
    if len(positional) > len(names):
        raise bad_arguments(owner, f"{len(positional)} arguments, at most {len(names)}", signature_text(spec))
    for name, value in zip(names, positional, strict=False):
        if name in given:
            raise bad_arguments(owner, f"{name} is given twice", signature_text(spec))
        given[name] = value
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise bad_arguments(owner, f"unknown argument {', '.join(unknown)}", signature_text(spec))
    fields = {field.name: field for field in msgspec.structs.fields(spec.arguments_type)}
    bound = []
    for name in names:
        if name in given:
            bound.append(given[name])
        elif fields[name].default is not msgspec.NODEFAULT:
            bound.append(fields[name].default)
        else:
            raise bad_arguments(owner, f"{name} is missing", signature_text(spec), argument=name)
    return bound


def from_json(spec: CommandSpec | QuerySpec, given: Mapping[str, Any]) -> list[Any]:
    """All arguments in order from a JSON object. Raises GuildbookError ``call.bad_arguments`` naming the argument."""
    specs = {one.name: one for one in spec.arguments}
    owner = f"{spec.contract}.{spec.name}"
    converted = {}
    for name, value in given.items():
        converted[name] = value if name not in specs else value_from_json(specs[name], value, owner)
    bound = bind(spec, (), converted)
    try:
        msgspec.convert([_plain(value) for value in bound], spec.arguments_type, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise bad_arguments(owner, _named(str(error), spec), signature_text(spec)) from None
    return bound


def _named(message: str, spec: CommandSpec | QuerySpec) -> str:
    """The validation message with the argument's name in place of its number."""
    for place, one in enumerate(spec.arguments):
        message = message.replace(f"`$[{place}]`", one.name).replace(f"$[{place}]", one.name)
    return message


def value_from_json(spec: FieldSpec, value: Any, owner: str = "") -> Any:
    """One argument or field from its JSON form. Raises GuildbookError ``call.bad_arguments``."""
    if value is None:
        return None
    where = f"{owner}: {spec.name}" if owner else spec.name
    if spec.kind in ("bytes", "digest"):
        if isinstance(value, bytes):
            return value
        try:
            if not isinstance(value, str):
                raise ValueError("not text")
            return bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            raise bad_arguments(
                where, f"{str(value)[:80]!r} is not hexadecimal", "write bytes as hexadecimal text"
            ) from None
    if spec.kind == "timestamp" and isinstance(value, str):
        return parse_time_ms(value)
    if isinstance(value, float):
        raise bad_arguments(
            where, f"{value!r} is not a whole number", "write amounts in minor units, as whole numbers"
        )
    if spec.kind == "json" and isinstance(value, list):
        item = item_type(spec.annotation)
        return tuple(_item_from_json(item, one, f"{where}[{place}]") for place, one in enumerate(value))
    return value


def _item_from_json(item: Any, value: Any, where: str) -> Any:
    """One item of a list: an object for a record, else as a field of the item's type."""
    if not (isinstance(item, type) and issubclass(item, Record)):
        return value_from_json(field_specs(msgspec.defstruct("Item", [("item", item)]))[0], value, where)
    specs = {one.name: one for one in field_specs(item)}
    if not isinstance(value, Mapping) or set(value) - set(specs):
        raise bad_arguments(
            where, f"{str(value)[:80]!r} is not an object of {', '.join(specs)}", "name the fields"
        )
    missing = [name for name, one in specs.items() if name not in value and not one.has_default]
    if missing:
        raise bad_arguments(where, f"{', '.join(missing)} is missing", f"give {', '.join(specs)}")
    return item(**{name: value_from_json(specs[name], given, where) for name, given in value.items()})


def item_type(annotation: Any) -> Any:
    """The type of the items of a tuple field, whatever stands around the tuple."""
    while typing.get_origin(annotation) is not tuple:
        inside = [one for one in typing.get_args(annotation) if one is not type(None)]
        annotation = inside[0]
    return typing.get_args(annotation)[0]


def parse_time_ms(text: str) -> int:
    """Milliseconds since 1970 of RFC 3339 text or of decimal digits. Raises GuildbookError ``call.bad_arguments``."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_arguments(
            "time", f"{text[:40]!r} is not a time", "write 2026-01-31T12:00:00Z, or milliseconds"
        ) from None
    if moment.tzinfo is None:
        raise bad_arguments("time", f"{text[:40]!r} has no zone", "end it with Z for UTC, or with an offset")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def format_time_ms(time_ms: int) -> str:
    """RFC 3339 text in UTC with milliseconds; beyond the year 9999 the number itself."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return str(time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, msgspec.Struct):
        return [_plain(one) for one in msgspec.structs.astuple(value)]
    return value


def to_json(value: Any) -> Any:
    """A canonical value as JSON: bytes as hexadecimal, records as objects, enumerations by value."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_json(one) for one in value]
    if isinstance(value, msgspec.Struct):
        return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
    return value


def fields_to_json(specs: Sequence[FieldSpec], values: Sequence[Any]) -> dict[str, Any]:
    """A record's or event's values in encoding order as a JSON object; times as RFC 3339 text."""
    shown = {}
    for spec, value in zip(specs, values, strict=False):
        shown[spec.name] = (
            format_time_ms(value) if spec.kind == "timestamp" and isinstance(value, int) else to_json(value)
        )
    return shown
