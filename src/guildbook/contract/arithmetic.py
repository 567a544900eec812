"""Integer arithmetic for shares and rates: every division names its rounding, and no unit is lost or made.

Theory. A rate is a numerator and a denominator. ``mul_div`` multiplies first and divides once, so its result is the
exact quotient rounded once. ``allocate`` divides a total so that the parts add up to the total: each part gets the
floor of its exact share, and the units left over go one each to the largest fractions (the largest-remainder
method, also named after Hamilton), the earlier part first among equal fractions. Python's integers have no bound,
so nothing overflows on the way; whether a result fits 64 bits is for the caller to require.
"""

import enum

from guildbook.state.record import INT64_MAX, INT64_MIN


class Rounding(enum.StrEnum):
    """What becomes of a fraction of a unit."""

    HALF_EVEN = "half_even"
    """To the nearest unit, and from the middle to the even one (IEEE 754, roundTiesToEven)."""
    FLOOR = "floor"
    """Down, towards minus infinity."""
    CEILING = "ceiling"
    """Up, towards plus infinity."""


def mul_div(value: int, numerator: int, denominator: int, rounding: Rounding = Rounding.HALF_EVEN) -> int:
    """``value * numerator / denominator``, rounded once.

    ``denominator`` is positive (ValueError if not); ``value`` and ``numerator`` are any integers.
    """
    if denominator <= 0:
        raise ValueError("the denominator of a rate is positive")
    quotient, rest = divmod(value * numerator, denominator)
    if rounding is Rounding.CEILING:
        return quotient + (1 if rest else 0)
    if rounding is Rounding.HALF_EVEN and (
        2 * rest > denominator or (2 * rest == denominator and quotient % 2)
    ):
        return quotient + 1
    return quotient


def allocate(total: int, weights: tuple[int, ...]) -> tuple[int, ...]:
    """``total`` divided in proportion to ``weights``; the parts add up to ``total``.

    ``total`` and each weight are 0 or more, and at least one weight is positive (ValueError if not). A part of
    weight 0 is 0. Each part differs from its exact share by less than one unit.
    """
    whole = sum(weights)
    if total < 0 or whole <= 0 or min(weights) < 0:
        raise ValueError("a total and weights of 0 or more, one of them positive, can be allocated")
    parts = [total * weight // whole for weight in weights]
    by_fraction = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_fraction[: total - sum(parts)]:
        parts[place] += 1
    return tuple(parts)


def fits_int64(value: int) -> bool:
    """Whether ``value`` is a signed 64-bit integer, as rows, arguments and events hold them."""
    return INT64_MIN <= value <= INT64_MAX
