"""Amounts of money as documents write them, kept exactly: minor units, currency, and the text itself.

A document may write 5442.09000 RON: five decimals, of which three are padding. The amount is 544209 minor units
and nothing is lost; the text stays beside it, so that the document can be written again as it was. 5442.09001 RON
is no amount of that currency: it is refused, never rounded.

Source: ISO 4217:2015, section 6 (minor units), with the maintenance agency's list; a test holds the table equal to
the one of the money contract.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

DECIMALS_MAX: Final = 5
"""ISO 20022: fractionDigits of an amount."""

DIGITS_MAX: Final = 18
"""ISO 20022: totalDigits of an amount."""

INT64_MAX: Final = 2**63 - 1

CURRENCIES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
        "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL "
        "HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU "
        "MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR "
        "SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED "
        "VES WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
}
"""Currencies by the number of decimals that their minor unit has."""

EXPONENTS: Final = {
    currency: exponent for exponent, currencies in CURRENCIES.items() for currency in currencies.split()
}

_DECIMAL = re.compile(r"\+?([0-9]*)(?:\.([0-9]*))?\Z")


class Amount(msgspec.Struct, frozen=True):
    """An amount without a sign: `minor` units (0..2^63-1) of `currency`, as `text` wrote it.

    Two amounts that differ in text alone (1.0 and 1.00) are different records with the same `minor`.
    """

    minor: int
    currency: str
    text: str


class Money(msgspec.Struct, frozen=True):
    """An amount with a sign: `minor` units (-2^63+1..2^63-1) of `currency`. A refund is below zero."""

    minor: int
    currency: str

    @property
    def text(self) -> str:
        """The amount in plain decimals, with all of the currency's: -1234 EUR is `-12.34`."""
        return amount_text(self.minor, self.currency)


def read_money(text: str, currency: str) -> Money:
    """The amount that `text` writes, with an optional minus sign; raises `ValueError` as `read_amount` does."""
    minor = read_amount(text.removeprefix("-"), currency).minor
    return Money(-minor if text.startswith("-") else minor, currency)


@functools.lru_cache(maxsize=4096)
def read_amount(text: str, currency: str) -> Amount:
    """The amount that `text` writes in `currency`; raises `ValueError` with the reason for what is none.

    Zeros beyond the currency's decimals are padding; another digit there is refused.
    """
    exponent = exponent_of(currency)
    matched = _DECIMAL.match(text)
    if matched is None:
        raise ValueError("is no amount: digits and at most one point, without a sign")
    whole, decimals = matched[1], matched[2] or ""
    if not whole and not decimals:
        raise ValueError("is no amount: it has no digit")
    if len(whole.lstrip("0")) + len(decimals) > DIGITS_MAX:
        raise ValueError(f"has more than {DIGITS_MAX} digits")
    if len(decimals) > DECIMALS_MAX:
        raise ValueError(f"has more than {DECIMALS_MAX} decimals")
    if decimals[exponent:].strip("0"):
        raise ValueError(f"has more decimals than {currency}, which has {exponent}")
    minor = int((whole or "0") + decimals[:exponent].ljust(exponent, "0"))
    if minor > INT64_MAX:
        raise ValueError("is greater than 64 bits hold")
    return Amount(minor, currency, text)


def exponent_of(currency: str) -> int:
    """How many decimals amounts of `currency` have (0, 2, 3 or 4); raises `ValueError` for what is no currency."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise ValueError(
            f"has the currency {currency[:8]!r}, which ISO 4217 lists without a minor unit or not at all"
        )
    return exponent


def amount_text(minor: int, currency: str) -> str:
    """`minor` units as a document writes them, with all decimals of the currency: 1234 EUR is `12.34`."""
    exponent = exponent_of(currency)
    sign, digits = ("-", str(-minor)) if minor < 0 else ("", str(minor))
    if not exponent:
        return sign + digits
    digits = digits.rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def amount(minor: int, currency: str) -> Amount:
    """The amount of `minor` units, with its plain text; raises `ValueError` below zero and beyond 18 digits."""
    if minor < 0:
        raise ValueError("is below zero; an amount of a document has no sign")
    return read_amount(amount_text(minor, currency), currency)
