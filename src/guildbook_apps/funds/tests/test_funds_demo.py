"""The demonstration from an appropriation to receipts: sums, files, refusals, evidence and the codes on paper."""

import io
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from rich.console import Console

from guildbook.client.keyfile import read_key
from guildbook.evidence.trust import parse_trust
from guildbook.evidence.verify import verify
from guildbook.node.config import read_config
from guildbook.node.folder import NodeFolder, stored_genesis
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.standards.iso20022 import PaymentInitiation, read, validation_findings
from guildbook_apps.funds import adapter, card, demo, people
from guildbook_apps.funds.bank import Bank, account_of
from shared_data import shared


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    told = []
    summary = demo.run_year(out, progress=lambda *step: told.append(step))
    return out, summary, told


def files_of(folder: Path) -> dict[str, bytes]:
    """What a seed alone decides: not the node and what is proven of it, as blocks are cut as calls arrive."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and "node" not in path.relative_to(folder).parts
            and not path.name.startswith(("receipt", "payment", "verdicts", "summary"))}


# The money


def test_at_each_moment_the_sums_are_what_was_appropriated(ran):
    _out, summary, _told = ran
    for lines in (summary.before, summary.lines):
        assert sum(sum(one.own) for one in lines) == summary.appropriated_minor == lines[0].under.allocated
        by_line = {one.line: one for one in lines}
        for one in lines:
            below = [other for other in lines if other.line == one.line or other.line.startswith(f"{one.line}/")]
            if one.depth:
                assert tuple(map(sum, zip(*(other.own for other in below), strict=True))) == tuple(one.under)
        counties = [one for one in lines if one.depth == 1]
        root = by_line[people.ROOT]
        assert [sum(part) for part in zip(root.own, *(one.under for one in counties), strict=True)] == [*root.under]


def test_when_the_year_is_over_what_is_free_is_at_the_root_and_what_is_committed_stays(ran):
    _out, summary, _told = ran
    assert [one.line for one in summary.lines if one.own.free] == [people.ROOT]
    assert summary.whole.committed == summary.before[0].under.committed > 0
    assert summary.whole.free == summary.before[0].under.free


def test_requests_are_at_every_stage_and_their_sums_are_those_of_the_lines(ran):
    _out, summary, _told = ran
    assert set(summary.stages) == {"submitted", "approved", "accepted", "settled", "confirmed", "rejected", "cancelled",
                                   "failed", "returned"}
    assert summary.stages["settled"][1] + summary.stages["confirmed"][1] == summary.whole.paid
    assert summary.stages["approved"][1] + summary.stages["accepted"][1] == summary.whole.committed


def test_what_must_be_refused_is_refused_with_its_code(ran):
    _out, summary, _told = ran
    assert [one.code for one in summary.refused] == [
        "funds.identity_enrolled", "funds.same_person", "funds.over_pay_first", "funds.over_entitlement",
        "approvals.proposer_never_approves", "funds.wrong_stage", "funds.line_lapsed"]


def test_a_fee_matches_nothing_and_waits(ran):
    _out, summary, _told = ran
    (fee,) = summary.unmatched
    assert (fee.kind, fee.amount_minor, fee.state) == ("BOOK", 3_500, "unmatched")
    assert fee.message.startswith("camt.053 ")


# The files


def test_the_files_between_programme_and_bank_are_valid_by_the_standards_schemas(ran):
    out, summary, _told = ran
    kinds, checked, schemas = {}, set(), shared("payments/iso20022-xsd")
    for path in sorted((out / "bank").rglob("*.xml")):
        data = path.read_bytes()
        name = read(data, file=path.name).name
        schema = schemas / f"{name}.xsd"
        if schema.exists():  # of pain.002 there are other versions' alone
            assert validation_findings(data, schema.read_bytes(), file=path.name) == ()
            checked.add(name[:8])
        kinds[name[:8]] = kinds.get(name[:8], 0) + 1
    assert kinds == summary.messages
    assert checked == {"pain.001", "camt.053", "camt.054", "camt.056", "camt.029", "pacs.004"}
    assert set(kinds) == checked | {"pain.002"}


def test_a_payment_file_can_be_made_again_from_the_ledger_and_the_book(ran):
    out, _summary, _told = ran
    paid = sorted((out / "bank" / "out").glob("*pain.001-B3.xml"))
    order = read(paid[0].read_bytes()).body
    assert isinstance(order, PaymentInitiation)
    assert (order.message_id, order.count, order.control_sum) == ("B3", 3, "562500.00")


def test_the_same_seed_gives_the_same_files_in_another_folder(ran, tmp_path):
    out, _summary, _told = ran
    demo.run_year(tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(out)
    assert len(files_of(out)) > 25


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(GuildbookError) as caught:
        demo.run_year(tmp_path)
    assert caught.value.code == "store.not_empty"


def test_what_is_left_behind_is_a_node_that_can_be_run(ran):
    out, _summary, told = ran
    folder = NodeFolder(out / "node")
    assert list(read_config(folder.config, {}).applications) == ["funds"]
    assert stored_genesis(folder).network == "funds-demo"
    for name in ("validator", "releaser", "clerk-heron", "household-01"):
        assert read_key(folder.keys / f"{name}.key").public_key
    assert told[-1] == ("the programme's year", 9, 9)


def test_the_tables_say_where_the_money_is_and_where_to_go_on(ran):
    _out, summary, _told = ran
    written = io.StringIO()
    demo.print_summary(summary, Console(file=written, width=160))
    text = written.getvalue()
    for part in ("roofs/heron/ash", "3,000,000.00", "of it free here", "unmatched", "guildbook verify", "guildbook sql",
                 "trust.json", "funds.over_entitlement"):
        assert part in text


def test_the_summary_is_readable_by_programs(ran):
    out, summary, _told = ran
    found = json.loads((out / "summary.json").read_bytes())
    assert sum(one["free"] + one["committed"] + one["paid"] for one in found["lines"]) == summary.appropriated_minor


# Open data


def test_what_is_published_adds_up_to_what_is_paid(ran):
    _out, summary, _told = ran
    assert summary.published_minor == (summary.whole.paid, summary.whole.paid)
    assert (summary.processes, summary.activities) == (8, 13)


def test_nothing_of_the_payee_book_is_published(ran):
    out, summary, _told = ran
    book = adapter.read_book((out / "payees.json").read_bytes())
    documents = "".join((out / name).read_text("utf-8") for name in (
        "ocds-releases.json", "iati-activities.xml", "summary.json", "verdicts.txt"))
    assert summary.receipt.payee in documents
    for holder in (book.debtor, *book.payees.values()):
        for clear in (holder.name, holder.number, holder.identity, holder.salt):
            assert clear not in documents


# The citizen's receipt


def test_the_evidence_left_behind_verifies_from_its_files_alone(ran):
    out, summary, _told = ran
    trust = parse_trust((out / "trust.json").read_bytes())
    receipt = verify((out / "receipt.evidence").read_bytes(), trust)
    payment = verify((out / "payment.evidence").read_bytes(), trust)
    assert [call.command for call in receipt.fact.signed.calls] == ["confirm_receipt"]
    assert [receipt, payment] == summary.verdicts
    assert payment.kind == "row"
    assert (summary.receipt.stage.value, summary.receipt.payee) == ("confirmed", "p-0001")


def test_an_altered_proof_proves_nothing(ran):
    out, _summary, _told = ran
    trust = parse_trust((out / "trust.json").read_bytes())
    data = bytearray((out / "payment.evidence").read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(GuildbookError):
        verify(bytes(data), trust)


def test_the_code_of_a_proof_holds_the_whole_evidence(ran):
    out, summary, _told = ran
    evidence = (out / "payment.evidence").read_bytes()
    text = card.proof_text(evidence)
    assert text is not None
    assert set(text) <= set(card.ALPHABET)
    assert card.read_proof(text) == evidence
    assert {name: 1 <= int(version) <= 40 for name, version in summary.codes.items()} == {
        "receipt-name.png": True, "receipt-proof.png": True}
    for name in summary.codes:
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_name_of_a_receipt_says_what_finds_it(ran):
    out, summary, _told = ran
    evidence = (out / "receipt.evidence").read_bytes()
    text = card.name_text("funds-demo", summary.verdicts[0].fact.transaction, evidence, "request 2")
    assert text.splitlines()[1] == "network funds-demo"
    assert sha256(evidence).hex() in text
    assert "://" not in text


@given(st.binary(max_size=3_000))
def test_any_bytes_come_back_from_a_code(data):
    text = card.proof_text(data)
    assert text is None or card.read_proof(text) == data


def test_what_is_too_long_for_a_code_has_none():
    noise = b"".join(sha256(number.to_bytes(4, "big")) for number in range(100))
    assert card.proof_text(noise) is None


@pytest.mark.parametrize("text", ["", "GB1:", "GB2:AB", "GB1:A", "GB1:ab", "GB1:::::::", "GB1:" + "0" * 5_000])
def test_a_text_that_is_no_proof_is_refused(text):
    with pytest.raises(GuildbookError) as caught:
        card.read_proof(text)
    assert caught.value.code == "evidence.malformed"


def test_a_proof_cut_short_is_refused():
    text = card.proof_text(bytes(range(200)))
    assert text is not None
    with pytest.raises(GuildbookError, match="no receipt's proof"):
        card.read_proof(text[:-9])


# The bank


def test_the_bank_says_the_same_of_the_same_order_and_its_balance_follows_the_bookings(ran):
    out, _summary, _told = ran
    order = next((out / "bank" / "out").glob("*pain.001-B3.xml")).read_bytes()
    answers: list[list[Any]] = []
    for _ in range(2):
        bank = Bank("Lantern Bank", "LNTNXX22", account_of("", "MADEUP1"), "CNY", 100_000_000)
        answers.append([bank.take(order, 0), bank.book(0), bank.statement(0)])
    assert answers[0] == answers[1]
    (statement,) = read(answers[0][2]).body.statements
    moved = sum(entry.signed_minor for entry in statement.entries)
    assert moved == -56_250_000
    assert statement.balance("OPBD").amount.minor + moved == statement.balance("CLBD").amount.minor


# The sample


def test_the_sample_is_the_payee_book_of_the_demonstration():
    sample = Path(demo.__file__).parent / "samples" / "payees.json"
    assert adapter.read_book(sample.read_bytes()) == people.payee_book(20)
