"""The laws of calendars and clocks, against an auditor who walks through time minute by minute.

The auditor has a library's zone and dates, and counts: of each minute it asks whether the office is open in it and
nothing keeps the clock from running. It knows no merged stretches and no offsets.
"""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from guildbook.contract import INT64_MAX, day_number
from guildbook.foundation.calendars import (
    Offset,
    Period,
    Roll,
    instant_of,
    local_day,
    merged,
    offset_at,
    without,
)
from guildbook.testing.ledger import TestLedger
from timer_contract import Timer

MINUTE_MS = 60_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Berlin", "Asia/Shanghai", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns",
    "Africa/Casablanca",
)  # fmt: skip


def offsets_of(name: str, years: range) -> tuple[Offset, ...]:
    """The offsets of a zone, found by asking the library about every quarter of an hour at which they may change."""
    zone = ZoneInfo(name)

    def minutes(moment: datetime) -> int:
        offset = moment.astimezone(zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds()) // 60

    moment = datetime(years.start, 1, 1, tzinfo=UTC)
    found = [Offset(from_at=0, minutes=minutes(moment))]
    while moment.year < years.stop:
        later = moment + timedelta(days=1)
        if minutes(later) != minutes(moment):
            while minutes(moment) == found[-1].minutes:
                moment += timedelta(minutes=15)
            found.append(Offset(from_at=ms(moment), minutes=minutes(moment)))
        moment = later
    return tuple(found)


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize("name", ZONES)
def test_offsets_give_the_local_times_of_the_zone(name):
    offsets = offsets_of(name, range(2025, 2028))
    zone = ZoneInfo(name)
    moment = datetime(2025, 2, 1, tzinfo=UTC)
    for _ in range(2_500):
        moment += timedelta(minutes=607)
        local = moment.astimezone(zone)
        assert local.utcoffset() == timedelta(milliseconds=offset_at(offsets, ms(moment)))
        assert local_day(offsets, ms(moment)) == (local.date() - date(1970, 1, 1)).days


@pytest.mark.parametrize("name", ZONES)
def test_a_local_minute_is_an_instant_that_shows_it_or_the_jump_over_it(name):
    offsets = offsets_of(name, range(2025, 2028))
    zone = ZoneInfo(name)
    for number in range(700):
        there = date(2025, 2, 1) + timedelta(days=number)
        for minute in (0, 30, 90, 120, 150, 179, 180, 600, 1439):
            wall = datetime(there.year, there.month, there.day) + timedelta(minutes=minute)
            at = instant_of(offsets, (there - date(1970, 1, 1)).days, minute)
            shown = (EPOCH + timedelta(milliseconds=at)).astimezone(zone)
            first = wall.replace(tzinfo=zone, fold=0)
            skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall
            if skipped:
                before = (EPOCH + timedelta(milliseconds=at - 1)).astimezone(zone)
                assert before.replace(tzinfo=None) < wall < shown.replace(tzinfo=None)
            else:
                assert at == ms(first.astimezone(UTC))


stretches = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda t: (t[0], t[0] + t[1])), max_size=6)


@given(stretches, st.integers(0, 40), st.integers(0, 20))
def test_what_is_left_of_a_stretch_is_what_no_gap_covers(gaps, start, length):
    parts = without(start, start + length, merged(gaps))
    left = [n for n in range(start, start + length) if not any(a <= n < b for a, b in gaps)]
    assert [n for a, b in parts for n in range(a, b)] == left
    assert all(a < b for a, b in parts)


@given(stretches, st.randoms())
def test_stretches_are_a_set(gaps, source):
    mixed = [*gaps, *gaps]
    source.shuffle(mixed)
    assert merged(mixed) == merged(gaps)
    assert all(one[1] < other[0] for one, other in zip(merged(gaps), merged(gaps)[1:], strict=False))


# a workload of calendars and clocks, and the auditor beside it


class Auditor:
    """Counts minutes."""

    def __init__(self, zone: str, weekend, hours, closed, worked) -> None:
        self.zone, self.weekend, self.hours = ZoneInfo(zone), weekend, hours
        self.closed, self.worked = closed, worked

    def is_worked(self, day: date) -> bool:
        return day in self.worked if day.weekday() in self.weekend else day not in self.closed

    def is_open(self, at: int) -> bool:
        local = (EPOCH + timedelta(milliseconds=at)).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return self.is_worked(local.date()) and any(a <= minute < b for a, b in self.hours)

    def due(self, start: int, minutes: int, gaps) -> int | None:
        """The end of the minute with which the last working minute is used up."""
        at, left = start, minutes
        while left:
            open_gaps = [a for a, b in gaps if b is None and a <= at]
            if open_gaps:
                return None
            if self.is_open(at) and not any(a <= at and (b is None or at < b) for a, b in gaps):
                left -= 1
            at += MINUTE_MS
        return at


def a_world(seed: int):
    """A calendar on a ledger, and its auditor; the same for the same seed."""
    source = random.Random(seed)
    zone = ZONES[seed % len(ZONES)]
    weekend = source.choice(((5, 6), (4, 5), (6,), ()))
    hours = source.choice((((540, 720), (780, 1020)), ((0, 1440),), ((60, 200), (201, 400)), ((1380, 1440),)))
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    off = sorted(source.sample(days, 40))
    closed = [one for one in off if one.weekday() not in weekend]
    worked = [one for one in off if one.weekday() in weekend]
    ledger = TestLedger(
        Timer, actors={"office/kim": ["calendars:keeper"], "office/lee": ["calendars:keeper"], "town/anna": []}
    )
    kim, lee = ledger.actor("office/kim").calendars, ledger.actor("office/lee").calendars
    with ledger.block():
        kim.draft_version(
            "office", zone, weekend, tuple(Period(from_minute=a, to_minute=b) for a, b in hours),
            source.choice((0, 900, 1440)), offsets_of(zone, range(2026, 2027)), "a workload",
        )  # fmt: skip
        kim.add_year("office", 1, 2026, tuple(map(number_of, closed)), tuple(map(number_of, worked)))
    lee.publish_version("office", 1)
    return source, ledger, Auditor(zone, weekend, hours, set(closed), set(worked))


def number_of(day: date) -> int:
    return day_number(day.year, day.month, day.day)


@pytest.mark.parametrize("seed", range(6))
def test_a_workload_of_clocks_agrees_with_the_auditor_who_counts_minutes(seed):
    source, ledger, auditor = a_world(seed)
    anna = ledger.actor("town/anna").timer
    kim, lee = ledger.actor("office/kim").calendars, ledger.actor("office/lee").calendars
    ledger.advance(days=100 + 7 * seed)
    begin = ledger.now // MINUTE_MS * MINUTE_MS - 90 * 86_400_000
    stops: dict[int, list] = {}
    starts: dict[int, tuple[int, int]] = {}
    outages: list = []
    for step in range(25):
        doing = source.choice(("start", "stop", "stop", "resume", "outage"))
        moment = begin + source.randrange(20 * 1440) * MINUTE_MS
        if doing == "start" or not starts:
            minutes = source.randrange(1, 1_500)
            number = anna.start(f"r-{step}", minutes, moment)
            starts[number], stops[number] = (moment, minutes), []
        elif doing == "stop":
            number = source.choice(sorted(starts))
            end = None if source.random() < 0.2 else moment + source.randrange(1, 4_000) * MINUTE_MS
            anna.stop(number, "papers", moment, end)
            stops[number].append((moment, end))
        elif doing == "resume":
            number = source.choice(sorted(starts))
            endless = [place for place, (_a, b) in enumerate(stops[number]) if b is None]
            if endless:
                end = stops[number][endless[0]][0] + source.randrange(1, 3_000) * MINUTE_MS
                anna.resume(number, endless[0] + 1, end)
                stops[number][endless[0]] = (stops[number][endless[0]][0], end)
        else:
            end = moment + source.randrange(1, 2_000) * MINUTE_MS
            before = {number: ledger.query("calendars.due_at", number) for number in starts}
            lee.confirm_outage("office", kim.record_outage("office", moment, end, "line_cut", bytes(32)))
            outages.append((moment, end))
            for number, due in before.items():
                later = ledger.query("calendars.due_at", number)
                assert (later or INT64_MAX) >= (due or INT64_MAX), "an outage never shortens"
    told = 0
    for number, (start, minutes) in starts.items():
        due = auditor.due(start, minutes, [*stops[number], *outages])
        assert ledger.query("calendars.due_at", number) == due
        told += due is not None
    assert told


@pytest.mark.parametrize("seed", range(6))
def test_days_agree_with_the_auditor(seed):
    source, ledger, auditor = a_world(seed)
    execution = ledger.ledger.view().execution()
    with execution.reading():
        calendars = execution.contract("calendars")
        for _ in range(30):
            day = date(2026, 2, 15) + timedelta(days=source.randrange(250))
            number = number_of(day)
            assert calendars.is_business_day("office", number) == auditor.is_worked(day)
            count = source.randrange(-20, 21) or 1
            there, left = day, abs(count)
            while left:
                there += timedelta(days=1 if count > 0 else -1)
                left -= auditor.is_worked(there)
            assert calendars.add_business_days("office", number, count) == number_of(there)
            first, last = sorted((number, number_of(there)))
            between = [n for n in range(first, last) if auditor.is_worked(date(1970, 1, 1) + timedelta(days=n))]
            assert calendars.business_days_between("office", first, last) == len(between)
            rolled = calendars.roll("office", number, source.choice(list(Roll)[1:]))
            assert auditor.is_worked(date(1970, 1, 1) + timedelta(days=rolled))
            start = ms(datetime(2026, 3, 1, tzinfo=UTC)) + source.randrange(200_000) * MINUTE_MS
            minutes = source.randrange(1, 900)
            due = calendars.deadline("office", start, minutes)
            assert due == auditor.due(start, minutes, [])
            assert calendars.working_ms("office", start, due) == minutes * MINUTE_MS


minutes_of_a_month = st.integers(0, 30 * 1440)
gaps_of_a_clock = st.lists(st.tuples(minutes_of_a_month, st.integers(1, 3_000)), max_size=5)


@settings(max_examples=25)
@given(gaps_of_a_clock, gaps_of_a_clock, st.integers(1, 2_000), st.randoms())
def test_records_in_any_order_give_the_same_due_time_and_more_of_them_never_an_earlier_one(one, more, minutes, source):
    def due(gaps) -> int:
        _source, ledger, _auditor = a_world(0)
        ledger.advance(days=120)
        anna = ledger.actor("town/anna").timer
        begin = ms(datetime(2026, 3, 1, tzinfo=UTC))
        with ledger.block() as receipts:
            anna.start("r", minutes, begin)
            for start, length in gaps:
                anna.stop(1, "papers", begin + start * MINUTE_MS, begin + (start + length) * MINUTE_MS)
        assert all(receipt.code == "" for receipt in receipts)
        result: int = ledger.query("calendars.due_at", 1)
        assert ledger.rows("calendars.clocks", 1)[0].told_due_at == result
        return result

    mixed = [*one, *more]
    source.shuffle(mixed)
    assert due([*one, *more]) == due(mixed) >= due(one) >= due([])
