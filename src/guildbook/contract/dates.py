"""Dates as whole days since 1970-01-01, in the proleptic Gregorian calendar, without any clock or library.

Theory. Years are counted from March, so that the day which comes and goes is the last of the year. Then the first day
of a month depends on the month alone, and 400 years have 146,097 days, always.

Source: ISO 8601-1:2019, section 4.3 (the Gregorian calendar, extended before its introduction).
"""

DAYS_IN_ERA = 146_097
"""Days of 400 years."""
DAYS_TO_EPOCH = 719_468
"""Days from 0000-03-01 to 1970-01-01."""
DAYS_IN_WEEK = 7
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday, and Monday is 0."""
YEAR_MIN, YEAR_MAX = 1, 9999


def day_number(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date; negative before. Raises ValueError where there is no such date."""
    if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= 12 and 1 <= day <= days_in_month(year, month)):
        raise ValueError("there is no such date")
    shifted = year - (1 if month <= 2 else 0)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * DAYS_IN_ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - DAYS_TO_EPOCH


def year_month_day(day: int) -> tuple[int, int, int]:
    """The date of a day number, as (year, month, day of the month)."""
    era, of_era = divmod(day + DAYS_TO_EPOCH, DAYS_IN_ERA)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * of_year + 2) // 153
    month = march_month + 3 if march_month < 10 else march_month - 9
    year = era * 400 + year_of_era + (1 if month <= 2 else 0)
    return year, month, of_year - (153 * march_month + 2) // 5 + 1


def is_leap_year(year: int) -> bool:
    """Whether a year has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """How many days a month (1 to 12) has."""
    if month == 2:
        return 29 if is_leap_year(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def weekday(day: int) -> int:
    """The day of the week of a day number: Monday is 0, Sunday is 6."""
    return (day + EPOCH_WEEKDAY) % DAYS_IN_WEEK


def add_months(day: int, months: int) -> int:
    """The same day of the month so many months later (or earlier), or the month's last where it has fewer days."""
    year, month, of_month = year_month_day(day)
    later_year, place = divmod(year * 12 + month - 1 + months, 12)
    return day_number(later_year, place + 1, min(of_month, days_in_month(later_year, place + 1)))
