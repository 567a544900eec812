"""The demonstration of a network: what it refuses before anything starts. That it runs is in tests/cluster."""

from pathlib import Path

import pytest

from command_line import CommandLine
from guildbook.engine.cometbft import binary
from guildbook_apps.points import network as points
from guildbook_apps.points.adapter import MERCHANTS


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def test_an_application_that_does_not_play_on_a_network_is_told_which_do(run):
    ran = run("network", "demo", "rocks")
    assert (ran.status, "points" in ran.err) == (2, True)


def test_a_folder_with_something_in_it_is_left_alone(run):
    Path("here").mkdir()
    Path("here/file").write_text("mine")
    assert run("network", "demo", "--out", "here").status == 5
    assert Path("here/file").read_text() == "mine"


def test_without_cometbft_it_says_what_to_do_and_makes_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GUILDBOOK_COMETBFT", raising=False)
    monkeypatch.setattr(binary, "_installer", lambda: ["nothing-installs-here"])
    ran = run("network", "demo", "--out", "new")
    assert ran.status == 5
    assert "GUILDBOOK_COMETBFT" in ran.err
    assert not Path("new").exists()


def test_four_merchants_vote_and_a_supervisor_observes():
    found = points.organisations()
    assert [one.id for one in found if not one.observer] == list(MERCHANTS)
    assert [one.id for one in found if one.observer] == [points.SUPERVISOR]
    parties = [party for one in found for party in one.parties]
    assert len(set(parties)) == len(parties)
