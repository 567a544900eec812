"""Dates and times as documents write them: the text, the day, and the instant in UTC, by integers alone.

`2014-12-31`, `2014-12-31T13:15:00+01:00` and `2025-07-24T06:10:29.000000000` all occur. The second names an instant.
The third does not say of which zone; it is read as UTC, and `zoned` says so. A day is midnight UTC.

Source: XML Schema Part 2, sections 3.2.7 (dateTime) and 3.2.9 (date); ISO 20022 types ISODateTime and ISODate.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

MS_A_DAY: Final = 86_400_000
ZONE_MINUTES_MAX: Final = 14 * 60

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})?\Z")
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class When(msgspec.Struct, frozen=True):
    """A date or a date with a time, as `text` wrote it.

    `utc_ms` is the instant in milliseconds since 1970 (a finer fraction stays in the text), `day` the date as written,
    `has_time` whether a time was given and `zoned` whether a zone was; without one, UTC is assumed.
    """

    text: str
    utc_ms: int
    day: str
    has_time: bool = False
    zoned: bool = False


def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar; raises `ValueError` for a date that does not exist."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or year < 1:
        raise ValueError("is no date: the month or the year does not exist")
    if not 1 <= day <= _MONTH_DAYS[month - 1] + (leap and month == 2):
        raise ValueError("is no date: the month has no such day")
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    days += sum(_MONTH_DAYS[: month - 1]) + (leap and month > 2) + day - 1
    return days - 719_162


def _zone_minutes(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    total = hours * 60 + minutes
    if minutes > 59 or total > ZONE_MINUTES_MAX:
        raise ValueError("has a zone that does not exist")
    return -total if zone[0] == "-" else total


@functools.lru_cache(maxsize=4096)
def read_date(text: str) -> When:
    """The day that `text` writes; raises `ValueError` with the reason for what is none."""
    matched = _DATE.match(text)
    if matched is None:
        raise ValueError("is no date: write it as 2026-01-31")
    days = days_since_1970(int(matched[1]), int(matched[2]), int(matched[3]))
    _zone_minutes(matched[4])
    return When(text, days * MS_A_DAY, text[:10], has_time=False, zoned=matched[4] is not None)


@functools.lru_cache(maxsize=4096)
def read_date_time(text: str) -> When:
    """The instant that `text` writes; raises `ValueError` with the reason for what is none."""
    matched = _DATE_TIME.match(text)
    if matched is None:
        raise ValueError("is no date with a time: write it as 2026-01-31T10:15:00Z")
    days = days_since_1970(int(matched[1]), int(matched[2]), int(matched[3]))
    hour, minute, second = int(matched[4]), int(matched[5]), int(matched[6])
    fraction = (matched[7] or "")[:3].ljust(3, "0")
    midnight_after = hour == 24 and minute == second == 0 and not (matched[7] or "").strip("0")
    if (hour > 23 and not midnight_after) or minute > 59 or second > 59:
        raise ValueError("has a time that does not exist")
    minutes = hour * 60 + minute - _zone_minutes(matched[8])
    utc_ms = days * MS_A_DAY + minutes * 60_000 + second * 1000 + int(fraction)
    return When(text, utc_ms, text[:10], has_time=True, zoned=matched[8] is not None)


def _civil(days: int) -> str:
    """The date `days` after 1970-01-01."""
    shifted = days + 719_468
    era, of_era = divmod(shifted, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}"


def date_at(utc_ms: int) -> When:
    """The day, in UTC, of an instant in milliseconds since 1970; raises `ValueError` outside the years 1 to 9999."""
    return read_date(_civil(utc_ms // MS_A_DAY))


def date_time_at(utc_ms: int) -> When:
    """An instant in milliseconds since 1970 as a document writes it, in UTC: `2026-01-31T10:15:00.000Z`."""
    days, rest = divmod(utc_ms, MS_A_DAY)
    seconds, milliseconds = divmod(rest, 1000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}Z"
    return read_date_time(f"{_civil(days)}T{clock}")
