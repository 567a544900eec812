"""Makes the data of a calendar for the ledger: holidays and worked weekends of a country, and the offsets of a zone.

python scripts/make_calendar.py --calendar de-office --country DE --zone Europe/Berlin --years 2026 2027
python scripts/make_calendar.py --calendar cn-office --country CN --zone Asia/Shanghai --years 2026 2026 --json

It prints the commands that draft the calendar, one a line; read them, run them, and have another keeper publish
what they drafted. Holidays come from the package `holidays`, zones from the zone database of Python. Both are used
here and never by a contract: what counts is what was published.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays

EPOCH = date(1970, 1, 1)
EPOCH_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
Call = tuple[str, dict[str, Any]]


def calls(
    calendar: str,
    country: str,
    zone: str,
    first: int,
    last: int,
    *,
    subdivision: str | None = None,
    hours: Sequence[tuple[int, int]] = ((540, 1020),),
    cut_off: int = 1440,
    version: int = 1,
) -> list[Call]:
    """(command, arguments) of the calls that draft a version of a calendar with the years ``first`` to ``last``.

    Hours and cut-off are minutes of the local day.
    """
    known = holidays.country_holidays(country, subdiv=subdivision, years=range(first, last + 1))
    weekend = sorted(known.weekend)
    place = country if subdivision is None else f"{country}-{subdivision}"
    made: list[Call] = [
        (
            "calendars.draft_version",
            {
                "calendar": calendar,
                "zone": zone,
                "weekend": weekend,
                "hours": [{"from_minute": start, "to_minute": end} for start, end in hours],
                "cut_off_minute": cut_off,
                "offsets": offsets(zone, first, last),
                "source": f"holidays {holidays.__version__}, {place}, {first} to {last}",
            },
        )
    ]
    for year in range(first, last + 1):
        days = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
        days = [day for day in days if day.year == year]
        off = [day for day in days if not known.is_working_day(day)]
        closed = [number(day) for day in off if day.weekday() not in weekend]
        worked = [number(day) for day in days if day.weekday() in weekend and day not in off]
        arguments = {"calendar": calendar, "version": version, "year": year, "closed": closed, "worked": worked}
        made.append(("calendars.add_year", arguments))
    return made


def number(day: date) -> int:
    """Days since 1970."""
    return (day - EPOCH).days


def offsets(name: str, first: int, last: int) -> list[dict[str, int]]:
    """The offsets of a zone from the first year to the end of the last; each change to the minute."""
    zone = ZoneInfo(name)

    def minutes(moment: datetime) -> int:
        offset = moment.astimezone(zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds()) // 60

    moment = datetime(first, 1, 1, tzinfo=UTC) - timedelta(days=1)
    end = datetime(last + 1, 1, 1, tzinfo=UTC) + timedelta(days=1)
    found = [{"from_at": 0, "minutes": minutes(moment)}]
    while moment < end:
        later = moment + timedelta(hours=12)
        if minutes(later) != minutes(moment):
            low, high = 0, 12 * 60
            while high - low > 1:
                middle = (low + high) // 2
                same = minutes(moment + timedelta(minutes=middle)) == minutes(moment)
                low, high = (middle, high) if same else (low, middle)
            change = moment + timedelta(minutes=high)
            at = (change - EPOCH_MOMENT) // timedelta(milliseconds=1)
            found.append({"from_at": at, "minutes": minutes(change)})
        moment = later
    return found


def as_command(call: Call) -> str:
    """The call as a command line."""
    command, arguments = call
    words = [
        f"{name}:={json.dumps(value, separators=(',', ':'))}" if isinstance(value, list) else f"{name}={value}"
        for name, value in arguments.items()
    ]
    return shlex.join(["guildbook", "call", command, *words])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calendar", required=True, help="the id of the calendar on the ledger")
    parser.add_argument("--country", required=True, help="two letters (ISO 3166-1), as in DE")
    parser.add_argument("--subdivision", help="a part of the country with holidays of its own, as in BY")
    parser.add_argument("--zone", required=True, help="a name of the zone database, as in Europe/Berlin")
    parser.add_argument("--years", required=True, nargs=2, type=int, metavar=("FIRST", "LAST"))
    parser.add_argument("--hours", default="09:00-17:00", help="working hours, as in 09:00-12:00,13:00-17:00")
    parser.add_argument("--cut-off", default="24:00", help="from when on business is that of the next day")
    parser.add_argument("--version", default=1, type=int, help="the number that the version will have")
    parser.add_argument("--json", action="store_true", help="print JSON in place of commands")
    given = parser.parse_args(words)
    periods = [tuple(minute(edge) for edge in period.split("-")) for period in given.hours.split(",")]
    made = calls(
        given.calendar,
        given.country,
        given.zone,
        *given.years,
        subdivision=given.subdivision,
        hours=[(start, end) for start, end in periods],
        cut_off=minute(given.cut_off),
        version=given.version,
    )
    for call in made:
        print(json.dumps({"command": call[0], "arguments": call[1]}) if given.json else as_command(call))


def minute(text: str) -> int:
    """The minute of the day that ``text`` writes, as in 09:30."""
    hours, _colon, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


if __name__ == "__main__":
    main()
