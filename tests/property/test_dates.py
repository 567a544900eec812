"""Dates without a library, against one: every date is its number, and back."""

import calendar
from datetime import date, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from guildbook.contract import add_months, day_number, days_in_month, weekday, year_month_day

EPOCH = date(1970, 1, 1)


@given(st.dates())
def test_a_date_is_its_number_and_back(day):
    number = day_number(day.year, day.month, day.day)
    assert number == (day - EPOCH).days
    assert year_month_day(number) == (day.year, day.month, day.day)
    assert weekday(number) == day.weekday()
    assert days_in_month(day.year, day.month) == calendar.monthrange(day.year, day.month)[1]


def test_all_days_of_four_centuries_follow_one_another():
    day = date(1900, 1, 1)
    for number in range((day - EPOCH).days, (date(2301, 1, 1) - EPOCH).days):
        assert year_month_day(number) == (day.year, day.month, day.day)
        day += timedelta(days=1)


@given(st.dates(date(1800, 1, 1), date(2400, 1, 1)), st.integers(-1200, 1200))
def test_a_month_later_is_the_same_day_or_the_last(day, months):
    year, month, of_month = year_month_day(add_months(day_number(day.year, day.month, day.day), months))
    assert (year * 12 + month) - (day.year * 12 + day.month) == months
    assert of_month == min(day.day, calendar.monthrange(year, month)[1])


@pytest.mark.parametrize("given", [(0, 1, 1), (10_000, 1, 1), (2026, 0, 1), (2026, 13, 1), (2026, 2, 29), (2026, 1, 0)])
def test_what_is_no_date_is_a_fault(given):
    with pytest.raises(ValueError, match="no such date"):
        day_number(*given)
