"""`guildbook network demo` as a process: five nodes play, agree, prove, and leave nothing running."""

import json
import signal
import time
from pathlib import Path

import pytest

from command_line import finished, process
from engine_binary import cometbft
from guildbook.evidence.trust import parse_trust
from guildbook.evidence.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def engines_below(folder: Path) -> list[str]:
    """Command lines of the processes that run anything below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder / "nodes") in words:
                found.append(words.replace("\0", " "))
    return found


def test_five_nodes_play_agree_and_prove(tmp_path):
    cometbft()
    ran = finished(process("network", "demo", "--seconds", 2, "--out", tmp_path / "out", "--json"), 280)
    assert ran.status == 0, ran.err
    summary = ran.document["summary"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert len(summary["nodes"]) == 5
    assert len({(one["height"], one["app_hash"]) for one in summary["nodes"]}) == 1
    assert summary["transactions"] > 0
    assert "no point was lost or invented" in summary["audit"]
    verdict = verify(
        (tmp_path / "out" / "evidence").read_bytes(),
        parse_trust((tmp_path / "out" / "trust.json").read_bytes()),
    )
    assert (verdict.height, verdict.total_power) == (summary["evidence"]["height"], 4)
    assert not (tmp_path / "out" / "nodes").exists()
    assert engines_below(tmp_path / "out") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes_and_leaves_no_folder(tmp_path, number):
    cometbft()
    demo = process("network", "demo", "--seconds", 60, "--out", tmp_path / "out")
    deadline = time.monotonic() + 120
    while len(engines_below(tmp_path / "out")) < 10:  # five nodes and five engines
        assert time.monotonic() < deadline
        assert demo.poll() is None, finished(demo)
        time.sleep(0.1)
    demo.send_signal(number)
    ran = finished(demo, 120)
    assert ran.status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], ran.err
    assert engines_below(tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
