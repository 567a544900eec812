"""Check digits of identifiers that business documents carry: whether one can be right, decided alike on every node.

Theory. A check digit is a sum over the characters before it. It finds most mistyped characters and neighbours that
changed places; it does not say that the identifier was ever given to anybody. Only the form and the sum are judged
here: which lengths a country uses, or which banks there are, changes by the year and is a matter for the edge.

    identifier      form                                          check            source
    LEI             18 letters or digits, 2 digits                MOD 97-10        ISO 17442-1
    IBAN            country, 2 digits, 11 to 30 characters        MOD 97-10        ISO 13616-1
    BIC             4 characters, country, 2 or 5 characters      none             ISO 9362
    container       3 letters, U, J or Z, 6 digits, 1 digit       MOD 11           ISO 6346
    ship            7 digits                                      MOD 10           IMO resolution A.1117(30)
    USCC            18 characters, 6 of them a region             MOD 31           GB 32100-2015

MOD 97-10 (ISO/IEC 7064): letters count 10 to 35, and the number that the text spells then leaves 1 when divided by 97.
Its check digits are 02 to 98; 00, 01 and 99 would fit the same sums and are never given.

Letters are capitals, and nothing but the identifier itself is accepted: no spaces, no hyphens, no small letters.
"""

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHANUMERIC = DIGITS + LETTERS
LEI_CHARS = 20
IBAN_CHARS_MIN = 15
IBAN_CHARS_MAX = 34
BIC_CHARS = (8, 11)
CONTAINER_CHARS = 11
SHIP_CHARS = 7
USCC_CHARS = 18
USCC_CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""Without I, O, S, V and Z, which are taken for digits or for each other."""
USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
"""The powers of 3 modulo 31."""
CONTAINER_LETTER_VALUES = (10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 35,
                           36, 37, 38)  # fmt: skip
"""A to Z, leaving out the multiples of 11."""


def _are(text: str, characters: str) -> bool:
    return all(one in characters for one in text)


def remainder_97(text: str) -> int:
    """The remainder by 97 of the number that ``text`` spells, letters counting 10 to 35.

    ``text`` is of digits and capitals; ValueError for another character.
    """
    remainder = 0
    for character in text:
        value = ALPHANUMERIC.index(character)
        remainder = (remainder * (100 if value > 9 else 10) + value) % 97
    return remainder


def _are_check_digits_97(text: str) -> bool:
    return _are(text, DIGITS) and 2 <= int(text) <= 98


def is_lei(text: str) -> bool:
    """Whether ``text`` has the form and the check digits of a Legal Entity Identifier."""
    formed = len(text) == LEI_CHARS and _are(text[:18], ALPHANUMERIC) and _are_check_digits_97(text[18:])
    return formed and remainder_97(text) == 1


def is_iban(text: str) -> bool:
    """Whether ``text`` has the form and the check digits of an International Bank Account Number."""
    formed = (
        IBAN_CHARS_MIN <= len(text) <= IBAN_CHARS_MAX
        and _are(text[:2], LETTERS)
        and _are_check_digits_97(text[2:4])
        and _are(text[4:], ALPHANUMERIC)
    )
    return formed and remainder_97(text[4:] + text[:4]) == 1


def is_bic(text: str) -> bool:
    """Whether ``text`` has the form of a Business Identifier Code, of 8 or 11 characters."""
    return len(text) in BIC_CHARS and _are(text, ALPHANUMERIC) and _are(text[4:6], LETTERS)


def is_container_number(text: str) -> bool:
    """Whether ``text`` has the form and the check digit of a freight container's number."""
    formed = len(text) == CONTAINER_CHARS and _are(text[:3], LETTERS) and text[3] in "UJZ" and _are(text[4:], DIGITS)
    if not formed:
        return False
    values = [CONTAINER_LETTER_VALUES[LETTERS.index(one)] for one in text[:4]] + [int(one) for one in text[4:10]]
    total = sum([value << place for place, value in enumerate(values)])
    return total % 11 % 10 == int(text[10])


def is_ship_number(text: str) -> bool:
    """Whether ``text`` has the form and the check digit of an IMO ship identification number, without ``IMO``."""
    if len(text) != SHIP_CHARS or not _are(text, DIGITS):
        return False
    total = sum([int(one) * (7 - place) for place, one in enumerate(text[:6])])
    return total % 10 == int(text[6])


def is_uscc(text: str) -> bool:
    """Whether ``text`` has the form and the check character of a Unified Social Credit Code."""
    if len(text) != USCC_CHARS or not _are(text, USCC_CHARACTERS) or not _are(text[2:8], DIGITS):
        return False
    values = [USCC_CHARACTERS.index(one) for one in text]
    total = sum([value * weight for value, weight in zip(values[:17], USCC_WEIGHTS, strict=True)])
    return (total + values[17]) % 31 == 0
