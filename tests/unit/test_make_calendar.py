"""The tool that makes calendars for the ledger: what it makes is accepted, and says what its sources say."""

import importlib.util
import json
import shlex
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pytest

from guildbook.foundation.calendars import Calendars
from guildbook.runtime.arguments import from_json
from guildbook.testing.ledger import TestLedger

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_calendar.py"
EPOCH = date(1970, 1, 1)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_calendar", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("country", "part", "zone", "year"),
    [("DE", "BY", "Europe/Berlin", 2026), ("CN", None, "Asia/Shanghai", 2025), ("SA", None, "Asia/Riyadh", 2026)],
)
def test_a_calendar_on_the_ledger_says_what_its_sources_say(tool, country, part, zone, year):
    ledger = TestLedger(actors={"office/kim": ["calendars:keeper"], "office/lee": ["calendars:keeper"]})
    for command, arguments in tool.calls("office", country, zone, year, year + 1, subdivision=part, cut_off=900):
        spec = Calendars.commands[command.partition(".")[2]]
        ledger.actor("office/kim").call(command, *from_json(spec, json.loads(json.dumps(arguments))))
    ledger.actor("office/lee").calendars.publish_version("office", 1)
    known = holidays.country_holidays(country, subdiv=part, years=[year, year + 1])
    execution = ledger.ledger.view().execution()
    with execution.reading():
        calendars: Any = execution.contract("calendars")
        for number in range(730):
            day = date(year, 1, 1) + timedelta(days=number)
            assert calendars.is_business_day("office", (day - EPOCH).days) == known.is_working_day(day), day
            moment = datetime(year, 1, 1, 0, 17, tzinfo=UTC) + timedelta(hours=24 * number + number % 24)
            local = moment.astimezone(ZoneInfo(zone)).date()
            assert calendars.local_date("office", int(moment.timestamp()) * 1000) == (local - EPOCH).days


def test_the_tool_prints_commands_or_json(tool, capsys):
    words = ["--calendar", "de", "--country", "DE", "--zone", "Europe/Berlin", "--years", "2026", "2026"]
    tool.main([*words, "--hours", "09:00-12:00,13:30-17:00"])
    first, second = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert first[:4] == ["guildbook", "call", "calendars.draft_version", "calendar=de"]
    assert 'hours:=[{"from_minute":540,"to_minute":720},{"from_minute":810,"to_minute":1020}]' in first
    assert second[2:6] == ["calendars.add_year", "calendar=de", "version=1", "year=2026"]
    tool.main([*words, "--json", "--cut-off", "16:00"])
    made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert made[0]["arguments"]["cut_off_minute"] == 960
    assert made[1]["arguments"]["closed"][0] == (date(2026, 1, 1) - EPOCH).days
