"""JSON Schema (2020-12) of what contracts declare: arguments, rows and events in their written form."""

from collections.abc import Sequence
from typing import Any

from guildbook.client.catalogue import FieldDocument

Schema = dict[str, Any]


def field_schema(field: FieldDocument, *, written: bool = False) -> Schema:
    """The schema of one value: as it may be sent, or with ``written`` as a node writes it."""
    schema = _plain_schema(field, written)
    if field.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if not field.required and not written:
        schema = {**schema, "default": field.default}
    return schema


def _plain_schema(field: FieldDocument, written: bool) -> Schema:
    if field.kind == "int":
        return {"type": "integer", **_bounds(field, "minimum", "maximum")}
    if field.kind == "timestamp":
        text: Schema = {"type": "string", "format": "date-time"}
        return (
            text
            if written
            else {
                "anyOf": [{"type": "integer", "minimum": 0, "description": "Milliseconds since 1970."}, text]
            }
        )
    if field.kind == "bool":
        return {"type": "boolean"}
    if field.kind == "text" and field.choices:
        return {"type": "string", "enum": list(field.choices)}
    if field.kind == "text":
        pattern = {"pattern": field.pattern.replace(r"\Z", "$")} if field.pattern else {}
        return {"type": "string", **_bounds(field, "minLength", "maxLength"), **pattern}
    if field.kind in ("bytes", "digest"):
        low, high = 2 * (field.minimum or 0), None if field.maximum is None else 2 * field.maximum
        lengths = {"minLength": low, **({} if high is None else {"maxLength": high})}
        return {
            "type": "string",
            "pattern": "^([0-9a-f]{2})*$",
            "description": "Bytes in hexadecimal.",
            **lengths,
        }
    if field.kind == "record":
        return record_schema(field.fields, written=written)
    assert field.kind == "json", field.kind
    assert field.items is not None, field.name
    return {
        "type": "array",
        "items": field_schema(field.items, written=written),
        **_bounds(field, "minItems", "maxItems"),
    }


def _bounds(field: FieldDocument, low: str, high: str) -> Schema:
    found = {low: field.minimum, high: field.maximum}
    return {name: value for name, value in found.items() if value is not None}


def record_schema(fields: Sequence[FieldDocument], *, written: bool = False, doc: str = "") -> Schema:
    """The schema of an object with ``fields`` and no others."""
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: field_schema(field, written=written) for field in fields},
    }
    required = [field.name for field in fields if field.required or written]
    if required:
        schema["required"] = required
    if doc:
        schema["description"] = doc
    return schema
