"""Where two ledgers part: the first block, and in it transaction, table, row and field."""

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import CommandLine, filled, founded
from guildbook.chain.divergence import ViewSide, as_text, explain, first_parting
from guildbook.chain.head import HEAD_KEY, application_hash, decode_head
from guildbook.chain.ledger import View
from guildbook.client.keyfile import read_key
from guildbook.node import open_node
from guildbook.primitives.canonical import encode
from guildbook.primitives.errors import GuildbookError
from guildbook.state import layout
from guildbook.testing import TestLedger
from guildbook.testing.determinism import assert_runs_alike, compare_runs
from sample_contract import Units

ACTORS = {"mint/till": ["units:issuer"], "market/anna": []}


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


def played(*amounts: int, ledger: TestLedger | None = None) -> TestLedger:
    """A block for each amount: so many units to x, and one to y."""
    ledger = TestLedger(Units, actors=ACTORS) if ledger is None else ledger
    for amount in amounts:
        with ledger.block():
            ledger.actor("mint/till").units.issue(to="y", units=1)
            ledger.actor("mint/till").units.issue(to="x", units=amount)
    return ledger


def sides(left: TestLedger, right: TestLedger) -> tuple[ViewSide, ViewSide]:
    return ViewSide(left.ledger.view()), ViewSide(right.ledger.view())


def test_ledgers_that_ran_the_same_do_not_part():
    found = explain(*sides(played(1, 2, 3), played(1, 2, 3, 4)))
    assert found is None
    assert "do not part" in as_text(found, "a", "b")[0]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.data())
def test_the_first_height_that_differs_is_found(amounts, data):
    place = data.draw(st.integers(0, len(amounts) - 1))
    other = [*amounts[:place], amounts[place] + 1, *amounts[place + 1 :]]
    left, right = sides(played(*amounts), played(*other))
    assert first_parting(left, right) == place + 1
    assert first_parting(right, left) == place + 1


def test_other_transactions_in_a_block_are_named():
    found = explain(*sides(played(1, 2, 3), played(1, 9, 3)))
    assert found is not None
    assert (found.height, found.why) == (2, "they ran other transactions, from transaction 1 of the block on")
    assert found.transaction is not None
    assert found.transaction.calls == ["units.issue"]
    assert found.transaction.party == "mint/till"
    assert found.transaction.left is not None
    assert found.transaction.right is None


def test_ledgers_that_were_founded_differently_part_at_height_0():
    other = TestLedger(Units, actors=ACTORS, parameters={"events_max": 77})
    found = explain(*sides(played(1), played(1, ledger=other)))
    assert found is not None
    assert (found.height, found.why) == (0, "they were founded differently")
    row = found.rows[0]
    assert row.table == "governance.parameters"
    assert (row.left_after, row.right_after) == (None, {"name": "events_max", "value": 77})


def tampered(ledger: TestLedger, height: int, change) -> View:
    """The ledger as a node would have it that made something else of a block: its roots from there on are its own."""
    store = ledger.store
    key = layout.height_key(layout.CHANGES, height)
    changes = ledger.ledger.view().changes(height)
    assert changes is not None
    writes = [(key, encode(change(changes)))]
    last = ledger.ledger.head.height
    for one in range(height, last + 1):
        roots = ledger.ledger.view().roots(one)
        assert roots is not None
        forged = msgspec.structs.replace(roots, state_root=bytes(32))
        writes.append((layout.height_key(layout.ROOTS, one), encode(forged)))
    head = decode_head(store.get(HEAD_KEY) or b"")
    app_hash = application_hash(bytes(32), head.log_root, head.log_size)
    writes.append((HEAD_KEY, msgspec.structs.replace(head, state_root=bytes(32), app_hash=app_hash).encode()))
    store.write(writes)
    return View("test-net", store, ledger.registry)


def test_a_row_that_became_another_is_told_field_by_field():
    def change(changes):
        row = next(one for one in changes.rows if one.table == "units.accounts" and one.key.startswith(b"x"))
        forged = msgspec.structs.replace(row, after=encode(["x", "till", 60]))
        return msgspec.structs.replace(changes, rows=[forged if one is row else one for one in changes.rows])

    view = tampered(played(1, 2, 3), 2, change)
    found = explain(ViewSide(played(1, 2, 3).ledger.view()), ViewSide(view))
    assert found is not None
    assert (found.height, found.why) == (2, "the receipts are the same, and units.accounts is not")
    assert len(found.transactions) == 2
    (row,) = found.rows
    assert row.fields == ["units"]
    assert row.left_before == row.right_before == {"id": "x", "holder": "till", "units": 1}
    assert row.left_after == {"id": "x", "holder": "till", "units": 3}
    assert row.right_after == {"id": "x", "holder": "till", "units": 60}
    text = "\n".join(as_text(found, "ours", "theirs"))
    assert "row 780000 of units.accounts, in units" in text
    assert '"units":60' in text


def test_a_row_that_only_one_side_changed_is_told():
    def change(changes):
        return msgspec.structs.replace(
            changes, rows=[one for one in changes.rows if one.table != "units.accounts"]
        )

    found = explain(ViewSide(played(1, 2).ledger.view()), ViewSide(tampered(played(1, 2), 2, change)))
    assert found is not None
    x = next(one for one in found.rows if one.key.startswith("78"))
    assert (x.left_after, x.right_after) == (
        {"id": "x", "holder": "till", "units": 3}, {"id": "x", "holder": "till", "units": 1}
    )  # fmt: skip


def test_a_receipt_that_came_out_differently_is_told():
    def change(changes):
        from guildbook.chain.receipt import decode_receipt

        receipt = msgspec.structs.replace(
            decode_receipt(changes.receipts[1]),
            outcome=1,
            code="units.not_enough",
            fields=[["wanted", 5]],
            results=[],
        )
        return msgspec.structs.replace(changes, receipts=[changes.receipts[0], encode(receipt)])

    found = explain(ViewSide(played(1, 2).ledger.view()), ViewSide(tampered(played(1, 2), 1, change)))
    assert found is not None
    assert found.why == "transaction 1 of the block came out differently"
    assert found.transaction is not None
    assert found.transaction.left is not None
    assert found.transaction.right is not None
    assert (found.transaction.left.outcome, found.transaction.right.code) == ("applied", "units.not_enough")


def test_a_wrong_root_over_equal_content_is_told_as_damage():
    found = explain(
        ViewSide(played(1, 2).ledger.view()), ViewSide(tampered(played(1, 2), 2, lambda one: one))
    )
    assert found is not None
    assert "one store is damaged" in found.why


class _Window:
    """A side that keeps some heights alone."""

    def __init__(self, side: ViewSide, first: int, last: int) -> None:
        self._side = side
        self.first_height = first
        self.last_height = last

    def app_hash(self, height):
        assert self.first_height <= height <= self.last_height
        return self._side.app_hash(height)

    def changes(self, height):
        return None

    def row(self, height, table, data):
        raise AssertionError


def test_ledgers_without_a_common_height_or_that_parted_before_are_refused():
    left, right = sides(played(1, 2, 3, 4), played(9, 2, 3, 4))
    with pytest.raises(GuildbookError, match=r"diverge\.nothing_common"):
        explain(_Window(left, 0, 1), _Window(right, 2, 4))
    with pytest.raises(GuildbookError, match=r"diverge\.earlier.*height 2"):
        explain(_Window(left, 2, 4), right)
    found = explain(left, _Window(right, 0, 4))
    assert found is not None
    assert "cannot be told" in found.why


# on the command line ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    """A node, and a copy of it that went on with other transactions."""
    place = tmp_path_factory.mktemp("parted")
    left = founded(place / "left")
    filled(left, blocks=2, calls=3)
    right = Path(shutil.copytree(left, place / "right", ignore=shutil.ignore_patterns("LOCK")))
    for folder, name in ((left, "ours"), (right, "theirs")):
        with open_node(folder) as node:
            node.engine.start()
            node.client(read_key(folder / "keys" / "admin.key")).call("units.issue", to=name, units=4)
    return left, right


def test_two_folders_are_compared(run, parted, tmp_path):
    left, right = parted
    ran = run("diverge", left, right, "--json")
    assert ran.status == 5
    found = ran.document["divergence"]
    assert ran.document["parted"]
    assert "other transactions" in found["why"]
    tables = {row["table"] for row in found["rows"]}
    assert "units.accounts" in tables
    text = run("diverge", left, right).out
    assert f"They part at block {found['height']}" in text
    assert '"id":"ours"' in text
    run.done("backup", left, tmp_path / "backup")
    same = run.done("diverge", left, tmp_path / "backup", "--json").document
    assert not same["parted"]
    assert run("diverge", left, tmp_path / "nowhere").status == 2


def test_a_folder_is_compared_with_a_running_node(run, parted):
    left, right = parted
    with open_node(right) as node, node.running() as url:
        document = run("diverge", left, url, "--json").document
    assert document["parted"]
    assert document["divergence"]["height"] >= 3


# determinism -----------------------------------------------------------------------------------------------------


def test_what_is_the_same_everywhere_passes():
    assert_runs_alike("determinism_targets:steady")


def test_what_depends_on_the_hash_seed_is_named_down_to_the_field():
    with pytest.raises(AssertionError) as caught:
        assert_runs_alike("determinism_targets:hashing")
    text = str(caught.value)
    assert "They part at block 4" in text
    assert "units.issue" in text
    found = compare_runs("determinism_targets:hashing")
    assert found is not None
    assert any((row.table, row.fields) == ("units.accounts", ["units"]) for row in found.rows)


def test_runs_that_fail_or_make_fewer_blocks_are_told():
    with pytest.raises(GuildbookError, match=r"diverge\.run_failed.*the workload is broken"):
        compare_runs("determinism_targets:failing")
    with pytest.raises(GuildbookError, match=r"diverge\.run_failed.*made 3 blocks, another 5"):
        compare_runs("determinism_targets:shorter")


def test_a_node_is_checked_for_determinism(run, parted):
    left, _right = parted
    ran = run.done("check", left, "--determinism")
    assert "determinism: nothing found" in ran.out
