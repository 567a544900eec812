"""Names and codes: which characters they have, how long they are, and what a refusal says.

Four kinds. The *network id* is part of what every transaction signs, and, being a CometBFT chain id, is
short. *Names* (of contracts, tables, commands, roles and fields) become SQL names, addresses and options of
the command line, so they are lower-case Python and SQL identifiers. A *code* is what people and other systems
call a thing: a party, an invoice, an ISO code. A *permission* is a contract's name and a role's, as in
`points:issuer`.

All are ASCII: two names that look the same are the same, and no Unicode table decides whether nodes agree.
"""

from __future__ import annotations

import re
from typing import Final

from guildbook.primitives.errors import GuildbookError

NETWORK_ID_CHARACTERS_MIN: Final = 3
NETWORK_ID_CHARACTERS_MAX: Final = 48
NAME_CHARACTERS_MAX: Final = 40
CODE_CHARACTERS_MAX: Final = 64

NETWORK_ID_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{1,46}[a-z0-9]\Z"
"""3 to 48 of a-z, 0-9 and '-', neither beginning nor ending with '-'."""

NAME_PATTERN: Final = r"^[a-z][a-z0-9_]{0,39}\Z"
"""1 to 40 of a-z, 0-9 and '_', beginning with a letter: contracts, tables, commands, roles, fields."""

CODE_PATTERN: Final = r"^[A-Za-z0-9._:@/-]{1,64}\Z"
"""1 to 64 of letters, digits and . _ : @ / -"""

_NETWORK_ID = re.compile(NETWORK_ID_PATTERN)
_NAME = re.compile(NAME_PATTERN)
_CODE = re.compile(CODE_PATTERN)


def _refuse(kind: str, value: str, rule: str) -> GuildbookError:
    return GuildbookError(
        "identifier.malformed", f"{value[:80]!r} is no {kind}", hint=f"use {rule}", value=value
    )


def check_network_id(value: str) -> str:
    """`value` itself if it is a network id; raises `GuildbookError` "identifier.malformed" if not."""
    if _NETWORK_ID.match(value) is None:
        raise _refuse(
            "network id",
            value,
            f"{NETWORK_ID_CHARACTERS_MIN} to {NETWORK_ID_CHARACTERS_MAX} of a-z, 0-9 and '-', "
            "neither beginning nor ending with '-'",
        )
    return value


def check_name(value: str, kind: str = "name") -> str:
    """`value` itself if it is a name; raises `GuildbookError` "identifier.malformed" if not.

    `kind` says in the message what is being named: "contract name", "role name".
    """
    if _NAME.match(value) is None:
        raise _refuse(kind, value, f"1 to {NAME_CHARACTERS_MAX} of a-z, 0-9 and '_', beginning with a letter")
    return value


def check_code(value: str, kind: str = "code") -> str:
    """`value` itself if it is a code; raises `GuildbookError` "identifier.malformed" if not."""
    if _CODE.match(value) is None:
        raise _refuse(kind, value, f"1 to {CODE_CHARACTERS_MAX} letters, digits and . _ : @ / -")
    return value


def check_permission(value: str) -> tuple[str, str]:
    """The contract's name and the role's name of a permission such as `points:issuer`; raises
    `GuildbookError` "identifier.malformed" if `value` is not two names joined by one colon.
    """
    contract, colon, role = value.partition(":")
    if not colon or _NAME.match(contract) is None or _NAME.match(role) is None:
        raise _refuse("permission", value, "a contract's name, ':' and a role's name, as in points:issuer")
    return contract, role
