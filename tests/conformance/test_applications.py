"""Every application in the tree conforms, and no well-typed call of anybody is a fault or breaks a law."""

import re
from pathlib import Path

import pytest

import guildbook_apps
from guildbook.foundation import FOUNDATION
from guildbook.foundation.calendars import Offset, Period
from guildbook.testing.conformance import (
    CALLS_SHOWN_MAX,
    bombard,
    check_application,
    check_contract,
    contract_of,
)
from sample_contract import Units

FOLDERS = sorted(one.parent for one in Path(guildbook_apps.__path__[0]).glob("*/app.toml"))
Known = dict[str, list[object]]
KNOWN: Known = {
    "member": ["m1", "m2"],
    "source": ["x", "y"],
    "target": ["x", "y"],
    "to": ["x"],
    "units": [1, 2, 10],
}


def test_there_are_applications_to_walk_over():
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_application_conforms(folder):
    assert check_application(folder) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_well_typed_call_is_a_fault(folder):
    bombard(contract_of(folder), known=KNOWN, runs=25)


@pytest.mark.parametrize("contract", FOUNDATION, ids=lambda contract: contract.contract_name)
def test_no_well_typed_call_of_a_foundation_is_a_fault(contract):
    known: Known = {"organisation": ["guild", "council"], "party": ["steward", "stranger"],
    "permission": ["units:issuer"],
             "currency": ["EUR", "JPY"], "ledger": ["cash"], "account": ["a", "b"], "debit": ["a"], "credit": ["b"],
             "reference": ["r-1", "r-2"], "contract": ["money", "parties"], "name": ["events_max"],
             "document": ["inv-1", "inv-2"], "issuer": ["guild"], "holder": ["guild"], "encumbrance": [1, 2],
             "grantee": ["guild", "money"], "version": [1, 2],
             "policy": ["own"], "proposal": [1], "life_ms": [1_000], "overriders": [()],
             "reviewer": [None], "review_ms": [0], "to": ["stranger"],
             "channel": ["bank-1", "bank-2"], "message_id": ["m-1", "m-2"],
             "origin": ["bank"], "message": [1, 2], "position": [1], "sequence": [1, 2], "digest": [bytes(32)],
             "value": ["E1", "E2"], "schema": ["camt.054.001.08"], "collection": ["own", "@all"], "consent": [1, 2],
             "subject": ["guild", "steward"], "recipient": ["guild"], "data_types": [("a",), ("a", "b")],
             "reader": ["steward", "stranger"], "purpose": ["loan"], "emergency": [1], "receipt": [1],
             "calendar": ["office"], "weekend": [(5, 6)], "offsets": [(Offset(from_at=0, minutes=60),)], "year": [2026],
             "hours": [(Period(from_minute=0, to_minute=1440),)], "cut_off_minute": [900], "closed": [()],
             "worked": [()], "outage": [1], "case": [1, 2], "minutes": [None, 60], "appeal_days": [10],
             "freeze": [1]}  # fmt: skip
    bombard(contract, known=known, runs=25)


def test_the_walker_finds_what_is_wrong(tmp_path):
    assert check_application(tmp_path / "empty")[0].endswith("README.md is missing")
    folder = tmp_path / "broken"
    for name in ("samples", "tests"):
        (folder / name).mkdir(parents=True)
    for name in ("README.md", "__init__.py"):
        (folder / name).write_text("")
    (folder / "contract.py").write_text("import os\n")
    (folder / "app.toml").write_text('name = "other"\ncontract = "nowhere.at_all:Thing"\n')
    problems = "\n".join(check_application(folder))
    for words in ("title is missing", "not the folder's", "contract.py:1", "cannot be loaded"):
        assert words in problems
    assert any("describes the roles" in one for one in check_contract(Units, {}))


def test_a_fault_is_found_and_told_with_the_calls_that_led_to_it():
    with pytest.raises(AssertionError) as caught:
        bombard(Units, known=KNOWN, runs=60)
    message, told = str(caught.value), "".join(caught.value.__notes__)
    assert "is a fault of its author" in message or "units.break_the_law" in told
    last = told.splitlines()[-1]
    assert re.fullmatch(r"    units\.\w+\(.*\) by guild/(steward|stranger)", last)
    assert "The calls that led there" in told
    assert "CommandSpec" not in message + told
    assert len(told.splitlines()) <= 1 + CALLS_SHOWN_MAX + 1
