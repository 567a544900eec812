"""JSON taken strictly, with exact numbers; and JSON in one canonical form.

Reading gives what Python has for it, except that a number with a point or an exponent is a `Decimal`, exact as written.
A name that occurs twice in an object, a number that is none (NaN), half a surrogate pair, and a document too large or
too deep are refused: readers disagree about them, so two of them would see two documents.

Writing is RFC 8785 (JSON Canonicalization Scheme): no spaces, names in the order of their UTF-16 code units, the
shortest escapes, numbers as ECMAScript writes the nearest double. The form is for hashing, not for amounts: a decimal
can be rounded in it. A whole number beyond 2^53 is refused, for there the next reader's number is another one.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from guildbook.standards.place import BAD_VALUE, MALFORMED, TOO_LARGE, refuse

DOCUMENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest JSON document that is read."""

DEPTH_MAX: Final = 64
"""How deep objects and lists may stand in one another."""

NUMBER_CHARACTERS_MAX: Final = 400
"""The longest number that is read: the longest double in plain decimals has 325 digits."""

SAFE_INTEGER_MAX: Final = 2**53 - 1
"""The greatest integer up to which a double holds every one (RFC 7493, section 2.2)."""

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPES: Final = {
    **{chr(code): f"\\u{code:04x}" for code in range(32)},
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\",
}  # fmt: skip
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')


def read_json(data: bytes, *, file: str = "", encoding: str = "utf-8") -> Any:
    """The one value in `data`; raises as `read_values`, and for a second value."""
    (_, value), *more = read_values(data, file=file, encoding=encoding)
    if more:
        raise refuse(MALFORMED, "the document has a second value", file=file, line=more[0][0])
    return value


def read_values(data: bytes, *, file: str = "", encoding: str = "utf-8") -> list[tuple[int, Any]]:
    """The values that stand in `data` one behind the other (as in JSON lines), each with the line where it begins.

    There is at least one. Raises GuildbookError
    `standards.malformed` or `standards.too_large`, with the line.
    """
    if len(data) > DOCUMENT_SIZE_BYTES_MAX:
        raise refuse(
            TOO_LARGE,
            f"the document has {len(data)} bytes, and {DOCUMENT_SIZE_BYTES_MAX} are read",
            file=file,
        )
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = "send the document in UTF-8, or name its encoding"
        raise refuse(
            MALFORMED, f"byte {error.start} is not {encoding}", file=file, line=line, hint=hint
        ) from None
    _refuse_depth(text, file)
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
    )
    found: list[tuple[int, Any]] = []
    at = _next(text, 0)
    while at < len(text) or not found:
        line = text.count("\n", 0, at) + 1
        try:
            value, end = decoder.raw_decode(text, at)
            _refuse_surrogates(value)
        except json.JSONDecodeError as error:
            raise refuse(
                MALFORMED, f"the document is not JSON: {error.msg}", file=file, line=error.lineno
            ) from None
        except ValueError as error:
            raise refuse(MALFORMED, f"the document is not taken: {error}", file=file, line=line) from None
        found.append((line, value))
        at = _next(text, end)
    return found


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _refuse_depth(text: str, file: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        mark = token[0]
        if mark in ("[", "{"):
            depth += 1
            if depth > DEPTH_MAX:
                line = text.count("\n", 0, token.start()) + 1
                raise refuse(TOO_LARGE, f"is deeper than {DEPTH_MAX} objects and lists", file=file, line=line)
        elif mark in ("]", "}"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:60]!r} occurs twice in one object")
    return found


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError("a text has half a surrogate pair")
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_surrogates(name)
            _refuse_surrogates(item)


def _decimal(text: str) -> Decimal:
    found = Decimal(text) if len(text) <= NUMBER_CHARACTERS_MAX else None
    if found is None or not -NUMBER_CHARACTERS_MAX < found.adjusted() < NUMBER_CHARACTERS_MAX:
        raise ValueError(f"the number {text[:40]} is not read")
    return found


def _integer(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError(f"the number {text[:40]} is not read")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of a value of text, numbers, truth values, null, lists and objects.

    Raises GuildbookError `standards.bad_value` for what JSON has no form for, and for a whole number beyond 2^53.
    """
    parts: list[str] = []
    _canonical(value, parts, 0)
    return "".join(parts).encode()


def _canonical(value: Any, parts: list[str], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise refuse(BAD_VALUE, f"the value is deeper than {DEPTH_MAX} objects and lists")
    if value is None or value is True or value is False:
        parts.append("null" if value is None else str(value).lower())
    elif isinstance(value, str):
        parts.append(_text(value))
    elif isinstance(value, (int, float, Decimal)):
        parts.append(_number(value))
    elif isinstance(value, (list, tuple)):
        parts.append("[")
        for position, item in enumerate(value):
            parts.append("," * (position > 0))
            _canonical(item, parts, depth + 1)
        parts.append("]")
    elif isinstance(value, dict) and all(isinstance(name, str) for name in value):
        parts.append("{")
        for position, name in enumerate(
            sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        ):
            parts += ["," * (position > 0), _text(name), ":"]
            _canonical(value[name], parts, depth + 1)
        parts.append("}")
    else:
        raise refuse(BAD_VALUE, f"{type(value).__name__} has no form in JSON")


def _text(value: str) -> str:
    if _SURROGATE.search(value):
        raise refuse(BAD_VALUE, "a text has half a surrogate pair")
    return '"' + _ESCAPED.sub(lambda found: _ESCAPES[found[0]], value) + '"'


def _number(value: int | float | Decimal) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString): the shortest digits that mean this double."""
    if isinstance(value, int):
        if abs(value) > SAFE_INTEGER_MAX:
            raise refuse(BAD_VALUE, f"{str(value)[:40]} is beyond the integers that every reader holds")
        return str(value)
    double = float(value)
    if double != double or double in (float("inf"), float("-inf")):
        raise refuse(BAD_VALUE, "the number is none, or infinite")
    if double == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(double)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    stripped = text.rstrip("0") or "0"
    exponent += len(text) - len(stripped)
    point = len(stripped) + exponent
    minus = "-" if sign else ""
    if 0 < point <= 21:
        whole = stripped.ljust(point, "0")
        return f"{minus}{whole[:point]}" + (f".{whole[point:]}" if len(whole) > point else "")
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{stripped}"
    mantissa = stripped[0] + (f".{stripped[1:]}" if len(stripped) > 1 else "")
    return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def exact_json(value: Any, *, indent: int = 1) -> bytes:
    """A value as JSON for other people: names in the given order, decimals exactly as they are, a line for each member.

    Not canonical, but the same bytes for the same value. Raises GuildbookError `standards.bad_value` as
    `canonical_json` does, except that any finite decimal is written.
    """
    parts: list[str] = []
    _exact(value, parts, 0, indent)
    return ("".join(parts) + "\n").encode()


def _exact(value: Any, parts: list[str], depth: int, indent: int) -> None:
    if depth > DEPTH_MAX:
        raise refuse(BAD_VALUE, f"the value is deeper than {DEPTH_MAX} objects and lists")
    line = "\n" + " " * indent * (depth + 1)
    if isinstance(value, Decimal) and value.is_finite():
        parts.append(plain_decimal(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        parts.append(str(value))
    elif isinstance(value, (list, tuple)) and value:
        for position, item in enumerate(value):
            parts += ["," if position else "[", line]
            _exact(item, parts, depth + 1, indent)
        parts += ["\n" + " " * indent * depth, "]"]
    elif isinstance(value, dict) and value:
        for position, (name, item) in enumerate(value.items()):
            parts += ["," if position else "{", line, _text(name), ": "]
            _exact(item, parts, depth + 1, indent)
        parts += ["\n" + " " * indent * depth, "}"]
    else:
        _canonical(value, parts, depth)


def plain_decimal(value: Decimal) -> str:
    """A decimal without an exponent and without zeros behind its last digit: 1250, 0.5."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
