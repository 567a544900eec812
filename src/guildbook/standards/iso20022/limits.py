"""Patterns and check digits that written messages hold to.

Sources: ISO 13616-1 (IBAN: country, two check digits by ISO 7064 MOD 97-10, up to 30 more characters), ISO 9362
(BIC), RFC 9562 (UUID of version 4), as the ISO 20022 schemas state them.
"""

from __future__ import annotations

import re
from typing import Final

BIC_PATTERN: Final = "[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"
UETR_PATTERN: Final = "[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}"

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}\Z")


def check_iban(text: str) -> None:
    """Raises `ValueError` for text that has not the form of an IBAN, or whose check digits do not hold."""
    if _IBAN.match(text) is None:
        raise ValueError("is not an IBAN")
    turned = (text[4:] + text[:4]).upper()
    if int("".join(str(int(character, 36)) for character in turned)) % 97 != 1:
        raise ValueError("is not an IBAN: its check digits do not hold")
