"""Members on the command line: deciding as the only one, and rehearsing what is put to the vote."""

import inspect
import json

import pytest

import sample_contract
from command_line import CommandLine, filled, founded

SECOND = inspect.getsource(sample_contract).replace('name="units", version=1', 'name="units", version=2')


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("governing") / "node")
    filled(folder)
    return folder


def test_a_rehearsal_prints_what_members_compare_and_the_call_that_approves(run, stopped, tmp_path):
    source = tmp_path / "units.py"
    source.write_text(SECOND)
    document = run.done("governance", "rehearse", source, "--node", stopped, "--blocks", 2, "--json").document
    assert (document["contract"], document["version"], document["differing"]) == ("units", 2, 0)
    assert document["rehearsal_to"] - document["rehearsal_from"] == 2
    again = run.done(
        "governance", "rehearse", source, "--node", stopped, "--proposal", 7,
        "--after", document["rehearsal_from"], "--until", document["rehearsal_to"],
    )  # fmt: skip
    assert document["approval"].replace("PROPOSAL", "7") in again.out
    assert f"outcome: {document['outcome']}" in again.out
    assert "0 transactions end otherwise" in again.out


def test_a_rehearsal_tells_what_would_end_otherwise(run, stopped, tmp_path):
    source = tmp_path / "units.py"
    source.write_text(SECOND.replace("if account is None:", "if account is not None:"))
    ran = run.done("governance", "rehearse", source, "--node", stopped)
    assert "applied -> call.contract_fault" in ran.out
    assert "fault: AttributeError" in ran.out


def test_a_source_that_is_none_is_refused(run, stopped, tmp_path):
    source = tmp_path / "units.py"
    source.write_bytes(b"\xff")
    assert run("governance", "rehearse", source, "--node", stopped, "--json").error["code"] == (
        "contract.not_deterministic")  # fmt: skip
    source.write_text(SECOND)
    ran = run("governance", "rehearse", source, "--node", stopped, "--until", 10_000, "--json")
    assert ran.error["code"] == "rehearsal.no_blocks"


def test_the_only_member_acts_with_actions_as_json(run, stopped):
    actions = json.dumps([{"kind": "set_parameter", "name": "events_max", "value": 99}])
    ran = run.done(
        "call", "council.act", "title=Fewer events", "reason=As agreed", f"actions:={actions}",
        "--key", stopped / "keys" / "admin.key", "--node", stopped, "--json",
    )  # fmt: skip
    assert ran.document["receipt"]["outcome"] == "applied"
    value = run.done("query", "governance.parameter", "name=events_max", "--node", stopped, "--json").document
    assert 99 in value.values()
