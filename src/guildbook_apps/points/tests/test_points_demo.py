"""The demonstration from purchases to proof: nothing lost, everything left behind as it says."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from guildbook.chain.ledger import Ledger
from guildbook.client.keyfile import read_key
from guildbook.evidence.trust import parse_trust
from guildbook.evidence.verify import verify
from guildbook.foundation import FOUNDATION
from guildbook.node.applications import load_applications
from guildbook.node.config import read_config
from guildbook.node.folder import NodeFolder, stored_genesis
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.registry import Registry
from guildbook.state.rocks import RocksStore
from guildbook_apps.points import demo
from guildbook_apps.points.adapter import MERCHANTS, write_purchases
from guildbook_apps.points.contract import Points
from shared_data import shared

SAMPLE = Path(demo.__file__).parent / "samples" / "purchases.csv"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    told = []
    summary = demo.run_demo(out, purchases=SAMPLE, progress=lambda *step: told.append(step))
    return out, summary, told


def test_the_sample_runs_and_its_bad_lines_are_listed_with_file_line_and_reason(sample):
    out, summary, _told = sample
    assert [one.number for one in summary.bad_lines] == [8, 12, 15, 19, 22, 23]
    listed = (out / "malformed-lines.csv").read_text("utf-8").splitlines()
    assert listed[1].startswith("purchases.csv,8,")
    assert "Quantity 'several'" in listed[1]
    assert summary.tally.lines == 17


def test_the_sums_of_every_programme_add_up_and_net_positions_are_zero(sample):
    _out, summary, _told = sample
    for sums in summary.programmes.values():
        assert sums["outstanding"] == sums["issued"] - sums["redeemed"] - sums["expired"] - sums["revoked"]
    assert sum(demo.net_positions(summary.claims_minor).values()) == 0
    assert set(demo.net_positions(summary.claims_minor)) <= set(MERCHANTS)


def test_the_same_file_again_earns_nothing(sample):
    _out, summary, _told = sample
    sent, refused = summary.second_reading
    assert sent == refused == summary.tally.earning
    assert summary.refusals["points.duplicate_evidence"] == refused


def test_the_evidence_left_behind_verifies_from_its_files_alone(sample):
    out, summary, _told = sample
    verdict = verify((out / "largest-redemption.evidence").read_bytes(), parse_trust((out / "trust.json").read_bytes()))
    assert verdict == summary.verdict
    assert [call.command for call in verdict.fact.signed.calls] == ["redeem"]


def test_the_ledger_left_behind_is_a_node_that_can_be_run(sample):
    out, summary, _told = sample
    folder = NodeFolder(out / "node")
    config = read_config(folder.config, {})
    assert list(config.applications) == ["points"]
    assert stored_genesis(folder).network == "points-demo"
    for name in ("validator", "steward", "officer-moss-and-fern", "wallet-00"):
        assert read_key(folder.keys / f"{name}.key").public_key
    registry = Registry()
    for contract in (*FOUNDATION, *load_applications(list(config.applications))):
        registry.install(contract)
    ledger = Ledger(RocksStore(folder.store), registry)
    try:
        assert ledger.head.height >= summary.blocks
        assert len(list(ledger.view().rows(Points.tables["members"].schema))) == summary.members
    finally:
        ledger.close()


def test_everything_that_is_said_to_be_written_is_there(sample):
    out, summary, told = sample
    assert all(path.stat().st_size > 0 for path in summary.written)
    assert json.loads((out / "summary.json").read_text("utf-8"))["members"] == summary.members
    assert (out / "outstanding.png").read_bytes().startswith(b"\x89PNG")
    assert told[-1] == ("comparing every row", 1, 1)


def test_the_summary_can_be_read(sample):
    _out, summary, _told = sample
    text = io.StringIO()
    demo.print_summary(summary, Console(file=text, width=140))
    assert "no point was lost or invented" in text.getvalue()
    assert "Settlement preview" in text.getvalue()
    assert f'guildbook sql "SHOW TABLES" --node {_out / "node"}' in text.getvalue()
    assert f"{summary.programmes['leaves']['issued']:,}" in text.getvalue()


def test_the_progress_bar_takes_what_the_work_tells(sample):
    _out, _summary, told = sample
    with demo.progress_bar(Console(file=io.StringIO())) as progress:
        for step in told:
            progress(*step)


def test_a_folder_that_is_in_use_is_left_alone(sample):
    out, _summary, _told = sample
    with pytest.raises(GuildbookError) as refusal:
        demo.run_demo(out)
    assert refusal.value.code == "store.not_empty"


def test_purchases_that_cannot_be_read_at_all_are_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(GuildbookError) as refusal:
        demo.run_demo(tmp_path / "out", purchases=tmp_path / "other.csv")
    assert refusal.value.code == "cli.usage"


def test_the_same_purchases_and_seed_give_the_same_points(tmp_path):
    files = tmp_path / "purchases"
    write_purchases(files, 5, days=2, customers=12, invoices_a_day=8)
    one, other = (demo.run_demo(tmp_path / name, purchases=files, seed=3) for name in ("one", "other"))
    assert one.programmes == other.programmes
    assert one.claims_minor == other.claims_minor
    assert one.days == other.days


def test_without_the_picture_library_all_else_is_done(sample, monkeypatch, tmp_path):
    _out, summary, _told = sample
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert demo.draw(summary.days, tmp_path / "none.png") is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_files_run_without_a_lost_or_invented_point(tmp_path):
    summary = demo.run_demo(tmp_path / "out", purchases=shared("bank-retail-risk/online-retail"))
    assert (summary.tally.lines, len(summary.bad_lines), summary.members) == (36_738, 0, 840)
    assert sum(sums["issued"] for sums in summary.programmes.values()) == 509_969
    assert summary.second_reading == (1_894, 1_894)
