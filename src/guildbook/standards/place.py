"""Where in a document something is, and how a refusal says so.

A document is refused as a whole with a `GuildbookError` whose fields are `file`, `line` and `path`. In documents
of many independent rows or releases one bad item does not stop the others: it becomes a `Refusal` beside the
records.
"""

from __future__ import annotations

from typing import Final

import msgspec

from guildbook.primitives.errors import GuildbookError

SHOWN_CHARACTERS_MAX: Final = 80
"""How much of a refused value a message repeats."""

MALFORMED: Final = "standards.malformed"
FORBIDDEN: Final = "standards.forbidden"
TOO_LARGE: Final = "standards.too_large"
UNKNOWN_MESSAGE: Final = "standards.unknown_message"
MISSING: Final = "standards.missing"
BAD_VALUE: Final = "standards.bad_value"
BROKEN_RULE: Final = "standards.broken_rule"


class Refusal(msgspec.Struct, frozen=True):
    """One item of a document that was not taken.

    `file` is the name the caller gave, `line` counts from 1 (0: not known), `path` names the element, the cell or the
    JSON pointer, `code` is one of the `standards.` codes and `reason` one sentence.
    """

    file: str
    line: int
    path: str
    code: str
    reason: str


def shown(value: str) -> str:
    """`value` as a message repeats it: quoted, and cut where it is long."""
    return repr(value if len(value) <= SHOWN_CHARACTERS_MAX else value[:SHOWN_CHARACTERS_MAX] + "…")


def refuse(
    code: str, reason: str, *, file: str = "", line: int = 0, path: str = "", hint: str = ""
) -> GuildbookError:
    """The error that refuses a document at a place; the caller raises it."""
    where = ", ".join(part for part in (file, f"line {line}" if line else "", path) if part)
    message = f"{where}: {reason}" if where else reason
    return GuildbookError(code, message, hint=hint, file=file, line=line, path=path, reason=reason)


def refusal_of(error: GuildbookError) -> Refusal:
    """The `Refusal` that says of one item what `error` says of a document."""
    fields = error.fields
    line = fields.get("line", 0)
    return Refusal(
        file=str(fields.get("file", "")),
        line=line if isinstance(line, int) else 0,
        path=str(fields.get("path", "")),
        code=error.code,
        reason=str(fields.get("reason", error.message)),
    )
