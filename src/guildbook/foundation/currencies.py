"""Amounts as people and documents write them: decimal text to minor units and back, exactly.

The exponents are those of the money contract, so there is one table. Text is plain: an optional minus sign, digits, and
at most as many decimals as the currency has; no grouping, no exponent, no sign in front of a positive amount. What does
not fit exactly is refused, never rounded.

Source: ISO 4217:2015, section 6 (minor units).
"""

from guildbook.foundation.money import EXPONENTS, WITHOUT_MINOR_UNIT
from guildbook.primitives.errors import GuildbookError
from guildbook.state.record import INT64_MAX, INT64_MIN

DIGITS = "0123456789"
AMOUNT_CHARS_MAX = 40


def exponent_of(currency: str) -> int:
    """How many decimals amounts of ``currency`` have (0 to 4); raises GuildbookError ``call.bad_arguments``."""
    if currency in WITHOUT_MINOR_UNIT:
        raise GuildbookError(
            "call.bad_arguments",
            f"{currency} has no minor unit",
            hint="use the code of a currency",
            currency=currency,
        )
    if currency not in EXPONENTS:
        raise GuildbookError(
            "call.bad_arguments",
            f"{currency!r} is no currency of ISO 4217",
            hint="use three capital letters, as in EUR",
            currency=currency,
        )
    return EXPONENTS[currency]


def minor_units(text: str, currency: str) -> int:
    """The amount that ``text`` writes in ``currency``, in minor units: ``12.34`` EUR is 1234.

    Raises GuildbookError ``call.bad_arguments`` for text that is not an amount, has more decimals than the currency,
    or does not fit 64 bits.
    """
    exponent = exponent_of(currency)
    whole, point, decimals = text.removeprefix("-").partition(".")
    plain = whole and bool(decimals) == bool(point) and all(one in DIGITS for one in whole + decimals)
    if not plain or len(text) > AMOUNT_CHARS_MAX:
        raise GuildbookError(
            "call.bad_arguments",
            f"{text[:AMOUNT_CHARS_MAX]!r} is no amount",
            hint="write digits and a point, as in 1234.50",
            amount=text,
        )
    if len(decimals) > exponent:
        raise GuildbookError(
            "call.bad_arguments",
            f"{text} has {len(decimals)} decimals, and {currency} has {exponent}",
            hint="round the amount by the rule of its document first",
            amount=text,
            currency=currency,
        )
    amount = int(whole + decimals.ljust(exponent, "0")) * (-1 if text.startswith("-") else 1)
    if not INT64_MIN <= amount <= INT64_MAX:
        raise GuildbookError(
            "call.bad_arguments", f"{text} {currency} does not fit 64 bits", hint="divide the amount", amount=text
        )
    return amount


def amount_text(amount_minor: int, currency: str) -> str:
    """``amount_minor`` minor units as text with all the currency's decimals: 1234 EUR is ``12.34``."""
    exponent = exponent_of(currency)
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    sign = "-" if amount_minor < 0 else ""
    return sign + (digits if exponent == 0 else f"{digits[:-exponent]}.{digits[-exponent:]}")
