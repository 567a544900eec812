"""Calendars: versions, days, zones, clocks, outages; and every refusal by name."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from guildbook.contract import day_number
from guildbook.foundation.calendars import (
    BUSINESS_DAYS_MAX,
    PERIODS_MAX,
    SEARCHED_DAYS_MAX,
    STOPS_MAX,
    Offset,
    Period,
)
from guildbook.testing.ledger import TestLedger, refused
from other_timer_contract import OtherTimer
from timer_contract import Timer

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WEEKEND = (5, 6)
HOURS = (Period(from_minute=9 * 60, to_minute=12 * 60), Period(from_minute=13 * 60, to_minute=17 * 60))
"""A working day has 7 hours."""
UTC_ONLY = (Offset(from_at=0, minutes=0),)
BERLIN = ZoneInfo("Europe/Berlin")
CHANGES = ("2026-03-29T01:00", "2026-10-25T01:00", "2027-03-28T01:00", "2027-10-31T01:00")
SUMMERS = tuple(
    Offset(from_at=int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 1000, minutes=minutes)
    for when, minutes in zip(CHANGES, (120, 60, 120, 60), strict=True)
)
BERLIN_OFFSETS = (Offset(from_at=0, minutes=60), *SUMMERS)
"""The offsets of Berlin in 2026 and 2027."""


def day(text: str) -> int:
    return day_number(*(int(part) for part in text.split("-")))


def at(text: str, zone=BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1000


@pytest.fixture
def ledger() -> TestLedger:
    """The calendar "office" of an authority in Berlin with the years 2026 and 2027, and "plain" in UTC with 2026."""
    ledger = TestLedger(
        Timer,
        OtherTimer,
        actors={
            "authority/kim": ["calendars:keeper"],
            "authority/lee": ["calendars:keeper"],
            "elsewhere/max": ["calendars:keeper"],
            "town/anna": [],
        },
    )
    with ledger.block():
        draft(ledger, "office", BERLIN_OFFSETS, cut_off=16 * 60)
        kim(ledger).add_year("office", 1, 2026, (day("2026-04-03"), day("2026-12-25")), (day("2026-02-28"),))
        kim(ledger).add_year("office", 1, 2027, (day("2027-01-01"),))
        draft(ledger, "plain", UTC_ONLY)
        kim(ledger).add_year("plain", 1, 2026, ())
    with ledger.block():
        lee(ledger).publish_version("office", 1)
        lee(ledger).publish_version("plain", 1)
    assert [row.current for row in ledger.rows("calendars.calendars")] == [1, 1]
    return ledger


def kim(ledger):
    return ledger.actor("authority/kim").calendars


def lee(ledger):
    return ledger.actor("authority/lee").calendars


def timer(ledger):
    return ledger.actor("town/anna").timer


def draft(ledger, calendar="office", offsets=UTC_ONLY, weekend=WEEKEND, hours=HOURS, cut_off=1440, by="authority/kim"):
    return ledger.actor(by).calendars.draft_version(calendar, "zone", weekend, hours, cut_off, offsets, "made by hand")


def ask(ledger, query, *arguments, **named):
    return ledger.query(f"calendars.{query}", *arguments, **named)


# days


@pytest.mark.parametrize(
    ("text", "worked"),
    [("2026-04-02", True), ("2026-04-03", False), ("2026-04-04", False), ("2026-02-28", True), ("2026-03-01", False)],
)
def test_a_day_is_worked_by_weekend_and_exceptions(ledger, text, worked):
    assert ask(ledger, "is_business_day", "office", day(text)) is worked


@pytest.mark.parametrize(
    ("text", "rule", "result"),
    [
        ("2026-04-03", "following", "2026-04-06"), ("2026-04-03", "preceding", "2026-04-02"),
        ("2026-05-30", "following", "2026-06-01"), ("2026-05-30", "modified_following", "2026-05-29"),
        ("2026-03-01", "preceding", "2026-02-28"), ("2026-03-01", "modified_preceding", "2026-03-02"),
        ("2026-04-03", "unadjusted", "2026-04-03"), ("2026-04-02", "modified_following", "2026-04-02"),
    ],
)  # fmt: skip
def test_a_day_that_is_not_worked_rolls(ledger, text, rule, result):
    assert ask(ledger, "roll", "office", day(text), rule) == day(result)


@pytest.mark.parametrize(
    ("text", "count", "result"),
    [("2026-04-02", 1, "2026-04-06"), ("2026-04-06", -1, "2026-04-02"), ("2026-04-04", 0, "2026-04-06"),
     ("2026-04-02", 0, "2026-04-02"), ("2026-02-27", 2, "2026-03-02"), ("2026-12-24", 3, "2026-12-30")],
)  # fmt: skip
def test_business_days_are_added(ledger, text, count, result):
    assert ask(ledger, "add_business_days", "office", day(text), count) == day(result)


def test_business_days_between_two_days(ledger):
    assert ask(ledger, "business_days_between", "office", day("2026-03-30"), day("2026-04-07")) == 5
    assert ask(ledger, "business_days_between", "office", day("2026-04-07"), day("2026-03-30")) == 0
    with refused_by_query("count_out_of_range"):
        ask(ledger, "business_days_between", "office", 0, SEARCHED_DAYS_MAX + 1)


@pytest.mark.parametrize(
    ("moment", "result"),
    [
        ("2026-04-02T15:59", "2026-04-02"), ("2026-04-02T16:00", "2026-04-06"), ("2026-04-04T09:00", "2026-04-06"),
        ("2026-07-01T00:30", "2026-07-01"), ("2026-01-05T00:30", "2026-01-05"),
    ],
)  # fmt: skip
def test_the_business_date_of_an_instant_knows_zone_and_cut_off(ledger, moment, result):
    assert ask(ledger, "business_date", "office", at(moment)) == day(result)


def test_a_day_begins_and_ends_in_its_zone(ledger):
    assert ask(ledger, "start_of_day", "office", day("2026-03-29")) == at("2026-03-29T00:00")
    assert ask(ledger, "start_of_day", "office", day("2026-03-30")) == at("2026-03-29T00:00") + 23 * HOUR_MS
    assert ask(ledger, "start_of_day", "office", day("2026-10-26")) == at("2026-10-25T00:00") + 25 * HOUR_MS
    assert ask(ledger, "start_of_day", "office", day("2026-03-29"), 150) == at("2026-03-29T01:00", UTC)
    assert ask(ledger, "start_of_day", "office", day("2026-10-25"), 150) == at("2026-10-25T00:30", UTC)
    assert ask(ledger, "local_date", "office", at("2026-06-30T22:30", UTC)) == day("2026-07-01")
    with refused_by_query("cut_off_malformed"):
        ask(ledger, "start_of_day", "office", 1, 1441)


def refused_by_query(code):
    return pytest.raises(Exception, match=f"calendars.{code}")


def test_a_year_that_is_not_there_is_refused_and_not_guessed(ledger):
    with refused_by_query("beyond_calendar"):
        ask(ledger, "is_business_day", "office", day("2028-01-01"))
    with refused_by_query("beyond_calendar"):
        ask(ledger, "add_business_days", "office", day("2027-12-30"), 5)
    with refused_by_query("beyond_calendar"):
        ask(ledger, "add_business_days", "office", 3, -5)
    with refused_by_query("count_out_of_range"):
        ask(ledger, "add_business_days", "office", 3, BUSINESS_DAYS_MAX + 1)
    with refused("calendars.beyond_calendar", year=2027, first_year=2026, last_year=2026):
        timer(ledger).start("r-1", 60 * 24 * 365, calendar="plain")


def test_nothing_is_looked_for_without_an_end(ledger):
    draft(ledger, "rare", hours=(Period(from_minute=0, to_minute=1),))
    with ledger.block():
        for year in range(2026, 2039):
            kim(ledger).add_year("rare", 1, year, ())
        lee(ledger).publish_version("rare", 1)
    with refused_by_query("too_far"):
        ask(ledger, "deadline", "rare", ledger.now, SEARCHED_DAYS_MAX)


@pytest.mark.parametrize("arguments", [("nowhere", 1), ("office", 1, 2), ("office", 1, 3)])
def test_only_a_published_version_of_a_known_calendar_is_used(ledger, arguments):
    draft(ledger)
    with refused_by_query("unknown_calendar|calendars.unknown_version"):
        ask(ledger, "is_business_day", *arguments)


def test_a_calendar_has_versions_and_an_earlier_one_stays(ledger):
    assert draft(ledger, weekend=(4, 5)) == 2
    kim(ledger).add_year("office", 2, 2026, ())
    friday = day("2026-07-03")
    assert ask(ledger, "is_business_day", "office", friday)
    lee(ledger).publish_version("office", 2)
    assert not ask(ledger, "is_business_day", "office", friday)
    assert ask(ledger, "is_business_day", "office", friday, 1)


# keeping


def test_a_calendar_is_kept_by_one_organisation_and_published_by_two_persons(ledger):
    with refused("calendars.not_the_keeper", keeper="authority"):
        draft(ledger, by="elsewhere/max")
    draft(ledger)
    stranger = ledger.actor("elsewhere/max").calendars
    for attempt in (
        lambda: stranger.add_year("office", 2, 2026, ()), lambda: stranger.publish_version("office", 2),
        lambda: stranger.record_outage("office", 0, 5, "x", bytes(32)), lambda: stranger.confirm_outage("office", 1),
    ):  # fmt: skip
        with refused("calendars.not_the_keeper"):
            attempt()
    with refused("calendars.no_years", version=2):
        lee(ledger).publish_version("office", 2)
    kim(ledger).add_year("office", 2, 2026, ())
    with refused("calendars.same_person", party="kim"):
        kim(ledger).publish_version("office", 2)
    lee(ledger).publish_version("office", 2)
    with refused("calendars.not_a_draft", version=2):
        kim(ledger).add_year("office", 2, 2027, ())
    with refused("calendars.not_a_draft"):
        lee(ledger).publish_version("office", 2)
    with refused("calendars.unknown_version"):
        lee(ledger).publish_version("office", 3)
    with refused("calendars.unknown_calendar", calendar="nowhere"):
        lee(ledger).publish_version("nowhere", 1)
    with refused("call.not_permitted"):
        ledger.actor("town/anna").calendars.publish_version("office", 2)


MANY_HOURS = tuple(Period(from_minute=9 * n, to_minute=9 * n + 5) for n in range(PERIODS_MAX + 1))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"weekend": (6, 5)}, "weekend_malformed"), ({"weekend": (7,)}, "weekend_malformed"),
        ({"weekend": (0, 1, 2, 3, 4, 5, 6)}, "weekend_malformed"), ({"weekend": (5, 5)}, "weekend_malformed"),
        ({"hours": ()}, "hours_malformed"), ({"hours": (HOURS[1], HOURS[0])}, "hours_malformed"),
        ({"hours": (Period(from_minute=5, to_minute=5),)}, "hours_malformed"),
        ({"hours": (Period(from_minute=5, to_minute=1441),)}, "hours_malformed"),
        ({"hours": MANY_HOURS}, "hours_malformed"),
        ({"cut_off": 1441}, "cut_off_malformed"), ({"offsets": ()}, "offsets_malformed"),
        ({"offsets": (Offset(from_at=1, minutes=0),)}, "offsets_malformed"),
        ({"offsets": (UTC_ONLY[0], UTC_ONLY[0])}, "offsets_malformed"),
        ({"offsets": (Offset(from_at=0, minutes=-1081),)}, "offsets_malformed"),
    ],
)  # fmt: skip
def test_a_version_is_sound(ledger, given, code):
    with refused(f"calendars.{code}"):
        draft(ledger, **given)


def test_the_years_of_a_version_are_sound(ledger):
    draft(ledger)
    wrong = [
        ((day("2027-01-01"),), ()), ((day("2026-12-25"), day("2026-04-03")), ()), ((day("2026-04-04"),), ()),
        ((), (day("2026-04-03"),)),
    ]  # fmt: skip
    for closed, worked in wrong:
        with refused("calendars.days_malformed", year=2026):
            kim(ledger).add_year("office", 2, 2026, closed, worked)
    kim(ledger).add_year("office", 2, 2026, ())
    for year in (2026, 2028):
        with refused("calendars.years_not_in_order", next=2027):
            kim(ledger).add_year("office", 2, year, ())


# clocks


def start(ledger, minutes=14 * 60, when="2026-04-01T15:00", reference="r-1"):
    """A clock of two working days, from the Wednesday before a closed Friday."""
    if at(when) > ledger.now:
        ledger.advance(milliseconds=at(when) - ledger.now)
    return timer(ledger).start(reference, minutes, at(when))


def outage(ledger, start_at, end_at, calendar="office"):
    number = kim(ledger).record_outage(calendar, at(start_at), at(end_at), "line_cut", bytes(32))
    lee(ledger).confirm_outage(calendar, number)
    return number


def test_working_time_skips_lunch_nights_and_closed_days(ledger):
    number = start(ledger)
    assert ask(ledger, "due_at", number) == at("2026-04-06T15:00")
    assert ask(ledger, "deadline", "office", at("2026-04-01T15:00"), 120) == at("2026-04-01T17:00")
    assert ask(ledger, "deadline", "office", at("2026-04-01T15:00"), 121) == at("2026-04-02T09:01")
    assert ask(ledger, "working_ms", "office", at("2026-04-01T15:00"), at("2026-04-06T15:00")) == 14 * HOUR_MS
    assert ask(ledger, "working_ms", "office", at("2026-04-01T12:10"), at("2026-04-01T13:10")) == 10 * 60_000
    with refused_by_query("count_out_of_range"):
        ask(ledger, "working_ms", "office", 0, (SEARCHED_DAYS_MAX + 1) * DAY_MS)


def test_a_stop_has_a_reason_and_moves_the_due_time_by_what_it_covers(ledger):
    number = start(ledger)
    ledger.advance(hours=18)
    stop = timer(ledger).stop(number, "asked_for_papers", at("2026-04-01T16:00"))
    assert ask(ledger, "due_at", number) is None
    assert ask(ledger, "clock_state", number) == "stopped"
    ledger.advance(hours=1)
    receipt = ledger.actor("town/anna").calls(
        ("timer.resume", {"clock": number, "stop": stop, "until_at": at("2026-04-02T10:00")})
    )
    told = receipt.events[0][2]
    assert (told[1], told[2]) == (None, at("2026-04-06T17:00"))
    assert ask(ledger, "clock_state", number) == "running"
    with refused("calendars.stop_has_ended"):
        timer(ledger).resume(number, stop)
    with refused("calendars.unknown_stop", stop=7):
        timer(ledger).resume(number, 7)


def test_an_outage_extends_every_clock_once_it_is_confirmed(ledger):
    number = start(ledger)
    ledger.advance(hours=24)
    outage_number = kim(ledger).record_outage(
        "office", at("2026-04-02T09:00"), at("2026-04-02T11:00"), "line_cut", bytes(32)
    )
    assert ask(ledger, "due_at", number) == at("2026-04-06T15:00")
    with refused("calendars.same_person"):
        kim(ledger).confirm_outage("office", outage_number)
    with refused("calendars.unknown_outage", outage=9):
        lee(ledger).confirm_outage("office", 9)
    lee(ledger).confirm_outage("office", outage_number)
    with refused("calendars.already_confirmed", outage=outage_number):
        lee(ledger).confirm_outage("office", outage_number)
    assert ask(ledger, "due_at", number) == at("2026-04-06T17:00")
    assert ledger.rows("calendars.clocks", number)[0].told_due_at == at("2026-04-06T15:00")
    receipt = ledger.actor("town/anna").calls(("calendars.tell_clock", {"clock": number}))
    assert receipt.events[0][2][1:] == [at("2026-04-06T15:00"), at("2026-04-06T17:00"), 2 * HOUR_MS, "told_again"]
    outage(ledger, "2026-04-02T10:00", "2026-04-02T11:30")
    assert ask(ledger, "due_at", number) == at("2026-04-07T09:30")


def test_an_outage_lies_in_the_past(ledger):
    with refused("calendars.time_out_of_range"):
        kim(ledger).record_outage("office", 5, 5, "x", bytes(32))
    with refused("calendars.time_out_of_range"):
        kim(ledger).record_outage("office", 5, ledger.now + DAY_MS, "x", bytes(32))


def test_a_late_end_becomes_timely_when_an_outage_comes_to_light(ledger):
    number = start(ledger)
    ledger.advance(days=6)
    assert ask(ledger, "clock_state", number) == "running"
    ledger.cut([])
    assert ask(ledger, "clock_state", number) == "overdue"
    assert timer(ledger).end(number, at("2026-04-06T15:01")) is True
    assert ask(ledger, "clock_state", number) == "late"
    outage(ledger, "2026-04-02T09:00", "2026-04-02T09:02")
    assert ask(ledger, "clock_state", number) == "met"
    with refused("calendars.has_ended"):
        timer(ledger).stop(number, "again")
    with refused("calendars.has_ended"):
        timer(ledger).end(number)


def test_an_end_at_the_due_time_is_in_time(ledger):
    number = start(ledger)
    ledger.advance(days=6)
    assert timer(ledger).end(number, at("2026-04-06T15:00")) is False
    assert ask(ledger, "clock_state", number) == "met"


def test_clocks_of_a_calendar_are_told_in_portions(ledger):
    for number in range(1, 6):
        start(ledger, reference=f"r-{number}")
    ledger.advance(hours=1)
    outage(ledger, "2026-04-01T15:00", "2026-04-01T15:01")
    anna = ledger.actor("town/anna").calendars
    assert anna.tell_clocks("office", 0, 2) == 2
    assert anna.tell_clocks("office", 2, 2) == 4
    assert anna.tell_clocks("office", 4, 2) == 0
    assert {row.told_due_at for row in ledger.rows("calendars.clocks")} == {at("2026-04-06T15:01")}
    with refused("calendars.unknown_calendar"):
        anna.tell_clocks("nowhere")


def test_a_clock_belongs_to_its_contract(ledger):
    number = start(ledger)
    other = ledger.actor("town/anna").other_timer
    with refused("calendars.not_your_clock", clock=number):
        other.stop(number)
    with refused("calendars.not_your_clock", clock=number):
        other.end(number)
    with refused("calendars.unknown_clock", clock=9):
        timer(ledger).end(9)
    with refused("call.not_permitted"):
        ledger.actor("town/anna").calendars.end_clock(number)


def test_the_same_reference_starts_one_clock(ledger):
    assert start(ledger) == start(ledger) == 1
    with refused("calendars.reference_used", reference="r-1", clock=1):
        start(ledger, minutes=5)
    assert start(ledger, reference="r-2") == 2


def test_times_of_clocks_do_not_lie_ahead(ledger):
    with refused("calendars.time_out_of_range"):
        timer(ledger).start("r-9", 5, ledger.now + DAY_MS)
    number = start(ledger)
    for attempt in (
        lambda: timer(ledger).stop(number, "x", ledger.now + DAY_MS), lambda: timer(ledger).stop(number, "x", 5, 5),
        lambda: timer(ledger).end(number, ledger.now + DAY_MS), lambda: timer(ledger).end(number, 5),
    ):  # fmt: skip
        with refused("calendars.time_out_of_range"):
            attempt()
    ledger.advance(hours=1)
    stop = timer(ledger).stop(number, "x", at("2026-04-01T15:30"))
    with refused("calendars.time_out_of_range"):
        timer(ledger).resume(number, stop, at("2026-04-01T15:30"))
    with refused("calendars.time_out_of_range"):
        timer(ledger).resume(number, stop, ledger.now + DAY_MS)


def test_a_clock_has_so_many_stops(ledger):
    number = start(ledger)
    with ledger.block() as receipts:
        for _ in range(STOPS_MAX + 1):
            timer(ledger).stop(number, "x", at("2026-04-01T15:00"), at("2026-04-01T15:30"))
    assert [one.code for one in receipts] == [""] * STOPS_MAX + ["calendars.too_many_stops"]
    assert ask(ledger, "due_at", number) == at("2026-04-06T15:30")


def test_berlin_is_berlin(ledger):
    """The offsets written above give the local times of the zone database, hour by hour."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for hours in range(0, 2 * 365 * 24, 7):
        instant = moment + timedelta(hours=hours)
        local = instant.astimezone(BERLIN)
        expected = (local.date() - date(1970, 1, 1)).days
        if hours % 91 == 0:
            assert ask(ledger, "local_date", "office", int(instant.timestamp()) * 1000) == expected
