"""What an evidence file says to its reader, and every way in which one is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from guildbook.evidence.__main__ import main
from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.format import (
    EVIDENCE_SIZE_BYTES_MAX,
    MAGIC,
    AbsenceEvidence,
    Anchor,
    Evidence,
    EvidenceError,
    Handover,
    RangeEvidence,
    ReceiptEvidence,
    RowEvidence,
    decode_evidence,
    encode_evidence,
)
from guildbook.evidence.report import as_json, as_text
from guildbook.evidence.trust import Trust, TrustedSet, format_trust, parse_trust
from guildbook.evidence.verify import AbsenceFact, RangeFact, ReceiptFact, RowFact, Verdict, verify
from guildbook.primitives import cometbft as comet
from guildbook.primitives import merkle_log
from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.log_entry import entry_of
from guildbook.primitives.ordered import encode_int, encode_text, prefix_end
from simulated_chain import SimulatedChain, resigned, signing_key, validator_set
from simulated_ledger import (
    OTHER_TABLE,
    TABLE,
    SimulatedLedger,
    busy_ledger,
    row_key,
    signed_envelope,
    transaction_of,
)

FOUR = {1: 10, 2: 10, 3: 10, 4: 10}


@cache
def ledger() -> SimulatedLedger:
    return busy_ledger(FOUR)


def check(evidence: Evidence, trust: Trust | None = None) -> Verdict:
    return verify(encode_evidence(evidence), trust or ledger().trust())


def refuses(evidence: Evidence, step: str, code: str, trust: Trust | None = None) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        check(evidence, trust)
    assert (caught.value.fields["step"], caught.value.code) == (step, f"evidence.{code}"), caught.value
    return caught.value


def receipt_file(number: int = 17, source: SimulatedLedger | None = None) -> Evidence:
    source = source or ledger()
    return decode_evidence(receipt_evidence(source, transaction_of(signed_envelope(number))))


def row_file(number: int = 9) -> Evidence:
    return decode_evidence(row_evidence(ledger(), TABLE, row_key(number)))


def range_file(first: int = 10, last: int = 15) -> Evidence:
    return decode_evidence(range_evidence(ledger(), TABLE, row_key(first), row_key(last)))


def with_anchor(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, anchor=replace(evidence.anchor, **changes))


def with_subject(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, subject=replace(evidence.subject, **changes))


# --- what is proven -----------------------------------------------------------------------------------------


def test_a_receipt_tells_when_what_and_by_whom() -> None:
    verdict = check(receipt_file(17))
    fact = verdict.fact
    assert isinstance(fact, ReceiptFact)
    assert (verdict.network, verdict.height) == ("simulated-net", 4)
    assert verdict.time_ns == ledger().chain.header(4).time_ns
    assert verdict.block_hash == comet.header_hash(ledger().chain.header(4))
    assert (verdict.power, verdict.total_power, len(verdict.signers)) == (40, 40, 4)
    assert (fact.outcome, fact.code, fact.results, fact.index, fact.log_index) == (0, "", [17], 3, 17)
    assert fact.events == [["points", "issued", [17, 171]]]
    assert fact.signed is not None
    assert fact.signed.key == signing_key(117).public_key
    (call,) = fact.signed.calls
    assert (call.contract, call.command, call.arguments[:3]) == (
        "points",
        "issue",
        ["miles", "holder-17", 171],
    )


def test_a_rejected_transaction_proves_its_refusal() -> None:
    fact = check(receipt_file(14)).fact
    assert isinstance(fact, ReceiptFact)
    assert (fact.outcome, fact.code, fact.fields) == (1, "points.not_enough_units", [["wanted", 14]])


def test_the_receipt_of_an_old_block_is_anchored_right_behind_it() -> None:
    """The log has grown since, and the file still proves the time of its own block."""
    for transaction in ledger().transactions():
        data = receipt_evidence(ledger(), transaction)
        place = ledger().place(transaction)
        assert place is not None
        header = comet.decode_header(decode_evidence(data).anchor.header)
        assert header.height == place.height + 1
        assert verify(data, ledger().trust()).time_ns == ledger().chain.header(place.height).time_ns


def test_a_row_a_gap_and_a_range_are_proven() -> None:
    row = check(row_file(9)).fact
    assert isinstance(row, RowFact)
    assert (row.table, row.key, row.values) == (TABLE, row_key(9), [9, "miles", "holder-9", 91])
    gap = check(row_file(20)).fact
    assert gap == AbsenceFact(TABLE, row_key(20))
    rows = check(range_file(18, 23)).fact
    assert isinstance(rows, RangeFact)
    assert [found.key for found in rows.rows] == [row_key(n) for n in (18, 19, 21, 22)]


def test_a_whole_table_is_proven_and_the_next_table_is_not_in_it() -> None:
    fact = verify(range_evidence(ledger(), TABLE), ledger().trust()).fact
    assert isinstance(fact, RangeFact)
    assert len(fact.rows) == 41
    fact = verify(range_evidence(ledger(), OTHER_TABLE), ledger().trust()).fact
    assert isinstance(fact, RangeFact)
    assert [found.values for found in fact.rows] == [[1, 8]]
    fact = verify(range_evidence(ledger(), "points.absent"), ledger().trust()).fact
    assert isinstance(fact, RangeFact)
    assert fact.rows == ()


def test_the_genesis_state_is_proven_by_the_first_header() -> None:
    source = SimulatedLedger()
    source.add_block()
    verdict = verify(row_evidence(source, TABLE, row_key(1)), source.trust())
    assert (verdict.kind, verdict.height, verdict.block_hash) == ("absence", 0, b"")
    assert verdict.time_ns == source.chain.header(1).time_ns
    assert "the genesis state" in as_text(verdict)


def test_three_of_four_signatures_are_enough() -> None:
    source = SimulatedLedger(FOUR)
    source.add_block([17])
    source.add_block(absent=[2])
    verdict = verify(receipt_evidence(source, transaction_of(signed_envelope(17))), source.trust())
    assert (verdict.power, verdict.total_power, len(verdict.signers)) == (30, 40, 3)


# --- network, trust and signatures --------------------------------------------------------------------------


def test_another_network_is_refused() -> None:
    refuses(receipt_file(), "network", "wrong_network", replace(ledger().trust(), network="other-net"))
    refuses(replace(receipt_file(), network="other-net"), "network", "wrong_network")
    both = replace(receipt_file(), network="other-net")
    refuses(both, "network", "wrong_network", replace(ledger().trust(), network="other-net"))


def test_validators_that_the_anchor_does_not_name_are_refused() -> None:
    for powers in ({1: 10}, {**FOUR, 4: 11}, {**FOUR, 5: 10}):
        trust = Trust("simulated-net", (TrustedSet(validator_set(powers)),))
        refuses(receipt_file(), "trust", "untrusted", trust)


def forged_by(evidence: Evidence, powers: dict[int, int], **changes: Any) -> Evidence:
    """The file with a header of `changes`, signed by whoever holds the keys of `powers`."""
    anchor = evidence.anchor
    signed = comet.SignedHeader(comet.decode_header(anchor.header), comet.decode_commit(anchor.commit))
    found = resigned(
        signed, powers, validators_hash=comet.validator_set_hash(validator_set(powers)), **changes
    )
    return with_anchor(
        evidence,
        header=comet.encode_header(found.header),
        commit=comet.encode_commit(found.commit),
        validators=comet.encode_validator_set(validator_set(powers)),
    )


def test_a_chain_that_strangers_signed_is_refused() -> None:
    refuses(forged_by(receipt_file(), {8: 10, 9: 10}), "trust", "untrusted")


def test_a_set_that_was_given_other_powers_is_refused() -> None:
    refuses(forged_by(receipt_file(), {1: 1_000, 2: 10, 3: 10, 4: 10}), "trust", "untrusted")


def test_too_few_signatures_are_refused() -> None:
    evidence = receipt_file()
    commit = comet.decode_commit(evidence.anchor.commit)
    thinned = replace(commit, signatures=(comet.ABSENT, comet.ABSENT, *commit.signatures[2:]))
    refusal = refuses(with_anchor(evidence, commit=comet.encode_commit(thinned)), "commit", "bad_signature")
    assert "two thirds" in refusal.message


def test_a_false_signature_is_refused_though_the_others_would_do() -> None:
    evidence = receipt_file()
    commit = comet.decode_commit(evidence.anchor.commit)
    false = replace(commit.signatures[3], signature=commit.signatures[2].signature)
    changed = replace(commit, signatures=(*commit.signatures[:3], false))
    refuses(with_anchor(evidence, commit=comet.encode_commit(changed)), "commit", "bad_signature")


def test_the_commit_of_another_block_is_refused() -> None:
    other = receipt_file(30)
    refuses(with_anchor(receipt_file(17), commit=other.anchor.commit), "commit", "bad_signature")


# --- handovers ----------------------------------------------------------------------------------------------


@cache
def rotated() -> SimulatedLedger:
    """Validators 1..4, then 3..6 from block 3 on, then 7..9 from block 5 on: nobody from genesis is left."""
    source = SimulatedLedger(FOUR)
    source.add_block()
    source.add_block([1], next_powers={3: 10, 4: 10, 5: 10, 6: 10})
    source.add_block([2])
    source.add_block([3], next_powers={7: 10, 8: 10, 9: 10})
    source.add_block([17])
    source.add_block()
    return source


def test_genesis_is_enough_when_every_set_handed_over_to_the_next() -> None:
    verdict = check(receipt_file(17, rotated()), rotated().trust())
    assert verdict.handovers == 2
    assert set(verdict.signers) == {signing_key(number).public_key for number in (7, 8, 9)}


def test_without_the_handovers_the_last_set_is_unknown() -> None:
    evidence = receipt_file(17, rotated())
    refuses(with_anchor(evidence, handovers=()), "trust", "untrusted", rotated().trust())
    for kept in evidence.anchor.handovers:
        refuses(with_anchor(evidence, handovers=(kept,)), "trust", "untrusted", rotated().trust())


def test_handovers_out_of_order_or_doubled_are_refused() -> None:
    evidence = receipt_file(17, rotated())
    first, second = evidence.anchor.handovers
    for handovers in ((second, first), (first, first, second)):
        refuses(with_anchor(evidence, handovers=handovers), "trust", "untrusted", rotated().trust())


def test_a_handover_that_changes_nothing_is_refused() -> None:
    source = rotated()
    idle = Handover(
        comet.encode_header(source.chain.header(1)),
        comet.encode_commit(source.chain.commit(1)),
        comet.encode_validator_set(source.validators(1)),
    )
    evidence = receipt_file(17, source)
    refuses(
        with_anchor(evidence, handovers=(idle, *evidence.anchor.handovers)),
        "trust",
        "untrusted",
        source.trust(),
    )


def test_strangers_cannot_hand_over_to_themselves() -> None:
    """A whole forged descent is consistent in itself, and still starts from nothing that is trusted."""
    forged = SimulatedLedger({21: 10})
    forged.add_block(next_powers={22: 10})
    forged.add_block([17])
    forged.add_block()
    evidence = receipt_file(17, forged)
    assert check(evidence, forged.trust()).handovers == 1
    refuses(evidence, "trust", "untrusted", rotated().trust())


def test_a_later_trusted_set_needs_no_handovers_and_suffers_them() -> None:
    source = rotated()
    later = Trust("simulated-net", (TrustedSet(source.validators(5), first_height=5),))
    evidence = receipt_file(17, source)
    assert check(with_anchor(evidence, handovers=()), later).handovers == 0
    assert check(evidence, later).handovers == 2


def test_a_set_is_not_believed_beyond_its_last_height() -> None:
    """Keys of a set that was replaced may leak years later; what they sign then proves nothing."""
    source = rotated()
    ended = Trust("simulated-net", (TrustedSet(source.validators(1), last_height=2),))
    assert check(receipt_file(17, source), ended).handovers == 2
    early = Trust("simulated-net", (TrustedSet(source.validators(1), last_height=1),))
    refuses(receipt_file(17, source), "trust", "untrusted", early)
    late = Trust("simulated-net", (TrustedSet(source.validators(5), first_height=7),))
    refuses(with_anchor(receipt_file(17, source), handovers=()), "trust", "untrusted", late)


# --- block and roots ----------------------------------------------------------------------------------------


def test_the_time_of_another_block_cannot_be_shown() -> None:
    evidence = receipt_file(17)
    block = comet.decode_header(evidence.anchor.block)
    later = comet.encode_header(replace(block, time_ns=block.time_ns + 1))
    refuses(with_anchor(evidence, block=later), "block", "wrong_block")
    refuses(with_anchor(evidence, block=receipt_file(30).anchor.block), "block", "wrong_block")


def test_the_block_cannot_be_left_out() -> None:
    refuses(with_anchor(receipt_file(17), block=b""), "block", "wrong_block")


def test_roots_that_the_header_does_not_commit_to_are_refused() -> None:
    evidence = receipt_file(17)
    anchor = evidence.anchor
    for changes in (
        {"state_root": b"\0" * 32},
        {"log_root": b"\0" * 32},
        {"log_size": anchor.log_size + 1},
        {"state_root": anchor.log_root, "log_root": anchor.state_root},
    ):
        refuses(with_anchor(evidence, **changes), "application hash", "wrong_app_hash")


# --- proofs -------------------------------------------------------------------------------------------------


def test_a_receipt_with_the_proof_of_another_is_refused() -> None:
    mine, other = receipt_file(17).subject, receipt_file(16).subject
    assert isinstance(mine, ReceiptEvidence)
    assert isinstance(other, ReceiptEvidence)
    refuses(with_subject(receipt_file(17), receipt=other.receipt), "proof", "log_inclusion")
    refuses(with_subject(receipt_file(17), path=other.path), "proof", "log_inclusion")
    refuses(with_subject(receipt_file(17), log_index=other.log_index), "proof", "log_inclusion")
    refuses(with_subject(receipt_file(17), path=mine.path[:-1]), "proof", "log_inclusion")
    refuses(with_subject(receipt_file(17), path=(*mine.path, b"\0" * 32)), "proof", "log_inclusion")


def test_an_inner_node_of_the_log_cannot_pass_as_a_receipt() -> None:
    """The bytes under an inner node are the hashes of its children; as a leaf they hash otherwise."""
    evidence = receipt_file(17)
    subject = evidence.subject
    assert isinstance(subject, ReceiptEvidence)
    own = merkle_log.leaf_hash(entry_for(subject.receipt))
    children = subject.path[0] + own  # index 17 is odd: the sibling is on the left
    assert merkle_log.node_hash(subject.path[0], own) != merkle_log.leaf_hash(children)
    for log_index in (subject.log_index, subject.log_index // 2):
        forged = with_subject(evidence, receipt=children, path=subject.path[1:], log_index=log_index)
        refuses(forged, "proof", "bad_proof")


def test_a_changed_row_or_another_key_or_table_is_refused() -> None:
    evidence = row_file(9)
    for changes in (
        {"row": encode([9, "miles", "holder-9", 92])},
        {"key": row_key(8)},
        {"table": OTHER_TABLE},
        {"table": "points", "key": b"lots\0" + row_key(9)},
    ):
        refuses(with_subject(evidence, **changes), "proof", "row_proof")


def test_the_absence_of_a_row_that_is_there_cannot_be_shown() -> None:
    present, absent = row_file(9), row_file(20)
    assert isinstance(present.subject, RowEvidence)
    assert isinstance(absent.subject, AbsenceEvidence)
    for proof in (present.subject.proof, absent.subject.proof):
        forged = replace(present, subject=AbsenceEvidence(TABLE, row_key(9), proof))
        refuses(forged, "proof", "absence_proof")


def test_the_presence_of_a_row_that_was_deleted_cannot_be_shown() -> None:
    row = encode([20, "miles", "holder-20", 201])
    absent = row_file(20)
    assert isinstance(absent.subject, AbsenceEvidence)
    forged = replace(absent, subject=RowEvidence(TABLE, row_key(20), row, absent.subject.proof))
    refuses(forged, "proof", "row_proof")


def test_a_range_cannot_leave_out_add_or_reorder_rows() -> None:
    evidence = range_file(10, 15)
    subject = evidence.subject
    assert isinstance(subject, RangeEvidence)
    rows = subject.rows
    added = (row_key(15), encode([15, "miles", "holder-15", 151]))
    for forged in (rows[1:], rows[:-1], rows[:2] + rows[3:], (*rows, added), rows[::-1], (rows[0], *rows)):
        refuses(with_subject(evidence, rows=forged), "proof", "range_proof")


def test_a_range_cannot_claim_other_bounds() -> None:
    evidence = range_file(10, 15)
    for bounds in ({"start": row_key(9)}, {"end": row_key(16)}, {"end": None}, {"start": b"", "end": None}):
        refuses(with_subject(evidence, **bounds), "proof", "range_proof")
    refuses(with_subject(evidence, start=row_key(15), end=row_key(10)), "proof", "range_proof")


# --- content ------------------------------------------------------------------------------------------------


def test_a_receipt_cannot_be_given_the_time_of_a_later_block() -> None:
    """The proof is good for the log of any later size, but the receipt says which block it is of."""
    evidence = receipt_file(17)
    later = receipt_file(30).anchor
    path = tuple(ledger().log().inclusion_proof(17, later.log_size))
    moved = with_subject(replace(evidence, anchor=later), path=path)
    refusal = refuses(moved, "content", "wrong_content")
    assert "block 4" in refusal.message


def test_the_envelope_of_another_transaction_is_refused() -> None:
    refuses(with_subject(receipt_file(17), envelope=signed_envelope(16)), "content", "wrong_content")


def test_an_envelope_whose_signature_is_another_is_refused() -> None:
    body, _ = decode(signed_envelope(17), tuple[bytes, bytes])
    _, other_signature = decode(signed_envelope(16), tuple[bytes, bytes])
    for signature in (other_signature, b"", b"\0" * 64):
        forged = with_subject(receipt_file(17), envelope=encode([body, signature]))
        refuses(forged, "content", "wrong_content")


def test_an_envelope_that_is_no_transaction_is_refused() -> None:
    for envelope in (
        b"",
        b"\xc0",
        encode([]),
        encode([b"", b""]),
        encode([1, 2]),
        signed_envelope(17) + b"\0",
    ):
        refuses(with_subject(receipt_file(17), envelope=envelope), "content", "wrong_content")


def entry_for(receipt: bytes) -> bytes:
    """The entry of the log for what may be no receipt; some other one where it can have none."""
    try:
        transaction, height, index, outcome = list(decode(receipt, list[Any]))[:4]
        return entry_of(receipt, transaction, height, index, outcome)
    except (GuildbookError, TypeError, ValueError, AttributeError, OverflowError):
        return entry_of(receipt, b"\1" * 32, 1, 0, 0)


def leaf_file(receipt: bytes, envelope: bytes | None) -> tuple[Evidence, Trust]:
    """Evidence for a log whose only entry is of `receipt`, of a network that logs whatever it is told."""
    chain = SimulatedChain()
    state_root, log_root = b"\0" * 32, merkle_log.leaf_hash(entry_for(receipt))
    chain.add_block(b"\0" * 32)
    chain.add_block(tagged("app", state_root, log_root, (1).to_bytes(8, "big")))
    anchor = Anchor(
        state_root,
        log_root,
        1,
        comet.encode_header(chain.header(1)),
        comet.encode_header(chain.header(2)),
        comet.encode_commit(chain.commit(2)),
        comet.encode_validator_set(chain.validators(2)),
    )
    trust = Trust(chain.network, (TrustedSet(chain.validators(1)),))
    return Evidence(chain.network, ReceiptEvidence(receipt, envelope, 0, ()), anchor), trust


def test_what_is_no_receipt_is_refused() -> None:
    good = [b"\1" * 32, 1, 0, 0, "", [], [], []]
    evidence, trust = leaf_file(encode(good), None)
    assert isinstance(check(evidence, trust).fact, ReceiptFact)
    for place, other in ((0, 5), (0, b"\1" * 31), (1, "1"), (1, -1), (2, None), (2, 1 << 32), (3, -1), (3, 256)):
        evidence, trust = leaf_file(encode([*good[:place], other, *good[place + 1 :]]), None)
        refuses(evidence, "proof", "bad_proof", trust)
    for place, other in (
        (1, 2),
        (3, 3),
        (4, b""),
        (5, None),
        (6, 0),
        (7, ""),
    ):
        evidence, trust = leaf_file(encode([*good[:place], other, *good[place + 1 :]]), None)
        refuses(evidence, "content", "wrong_content", trust)
    for receipt in (encode(good[:7]), encode([*good, 0])):
        evidence, trust = leaf_file(receipt, None)
        refuses(evidence, "content", "wrong_content", trust)
    for receipt in (b"", b"\x80", encode(good[:3]), encode(7)):
        evidence, trust = leaf_file(receipt, None)
        refuses(evidence, "proof", "bad_proof", trust)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, 2),
        (1, "other-net"),
        (2, 5),
        (3, "x"),
        (4, None),
        (5, 7),
        (5, [7]),
        (5, [["a", "b"]]),
        (5, [["a", 1, []]]),
    ],
)
def test_a_signed_body_that_is_no_transaction_is_refused(place: int, other: Any) -> None:
    """Even when the ledger has logged a receipt for it and its key has signed it."""
    key = signing_key(1)
    body_values: list[Any] = [1, "simulated-net", key.public_key, 5, b"nonce", [["points", "issue", []]]]

    def logged(values: list[Any]) -> tuple[Evidence, Trust]:
        body = encode(values)
        envelope = encode([body, key.sign(b"guildbook/sign/v1\0" + body)])
        receipt = encode([tagged("transaction", body), 1, 0, 0, "", [], [], []])
        return leaf_file(receipt, envelope)

    evidence, trust = logged(body_values)
    check(evidence, trust)
    body_values[place] = other
    evidence, trust = logged(body_values)
    refuses(evidence, "content", "wrong_content", trust)


# --- form ---------------------------------------------------------------------------------------------------


def test_a_file_of_another_version_says_so() -> None:
    value = decode(encode_evidence(receipt_file()), list)
    value[1] = 2
    with pytest.raises(EvidenceError, match=r"version 2") as caught:
        verify(encode(value), ledger().trust())
    assert caught.value.code == "evidence.wrong_version"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"{}",
        encode([]),
        encode([MAGIC]),
        encode(["other", 1]),
        encode([MAGIC, 1]),
        encode(MAGIC),
    ],
)
def test_what_is_no_evidence_file_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"evidence\.malformed"):
        verify(data, ledger().trust())


def test_a_seal_of_another_file_is_refused() -> None:
    mine, other = encode_evidence(receipt_file(17)), encode_evidence(receipt_file(16))
    with pytest.raises(EvidenceError, match="seal") as caught:
        verify(mine[:-32] + other[-32:], ledger().trust())
    assert caught.value.fields["step"] == "form"


def test_a_file_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(EvidenceError, match="more than"):
        verify(b"\x00" * (EVIDENCE_SIZE_BYTES_MAX + 1), ledger().trust())
    huge = (row_key(1), b"\0" * EVIDENCE_SIZE_BYTES_MAX)
    with pytest.raises(EvidenceError, match=r"evidence\.too_large"):
        encode_evidence(with_subject(range_file(), rows=(huge,)))


# --- exporting ----------------------------------------------------------------------------------------------


def test_what_is_not_there_or_not_final_cannot_be_exported() -> None:
    source = SimulatedLedger()
    source.add_block([17])
    transaction = transaction_of(signed_envelope(17))
    for export in (
        lambda: receipt_evidence(source, b"\0" * 32),
        lambda: receipt_evidence(source, transaction),
        lambda: row_evidence(source, TABLE, row_key(17)),
        lambda: range_evidence(source, TABLE),
        lambda: row_evidence(SimulatedLedger(), TABLE, row_key(17)),
    ):
        with pytest.raises(EvidenceError, match=r"evidence\.not_available"):
            export()
    source.add_block()
    assert verify(receipt_evidence(source, transaction), source.trust()).height == 1


def test_a_pruned_block_says_where_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    source = busy_ledger()
    kept = source.header
    monkeypatch.setattr(source, "header", lambda height: None if height <= 5 else kept(height))
    with pytest.raises(EvidenceError, match="no longer has block 5") as caught:
        receipt_evidence(source, transaction_of(signed_envelope(17)))
    assert "whole history" in caught.value.hint


# --- the trust anchor ---------------------------------------------------------------------------------------


def test_a_trust_anchor_reads_back() -> None:
    trust = Trust(
        "simulated-net",
        (TrustedSet(validator_set(FOUR), last_height=7), TrustedSet(validator_set({5: 1}), first_height=8)),
    )
    assert parse_trust(format_trust(trust)) == trust
    assert json.loads(format_trust(ledger().trust()))["validator_sets"][0]["first_height"] == 1


KEY = "ed25519:" + signing_key(1).public_key[1:].hex()
ONE_SET = {"validators": [{"key": KEY, "power": 1}]}


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"network": "n"},
        {"network": "", "validator_sets": [ONE_SET]},
        {"network": 1, "validator_sets": [ONE_SET]},
        {"network": "n", "validator_sets": []},
        {"network": "n", "validator_sets": {}},
        {"network": "n", "validator_sets": [[]]},
        {"network": "n", "validator_sets": [ONE_SET], "more": 1},
        {"network": "n", "validator_sets": [{"validators": []}]},
        {"network": "n", "validator_sets": [{"validators": "x"}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": KEY}]}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": KEY, "power": 0}]}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": KEY, "power": True}]}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": KEY, "power": 1.0}]}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": KEY.upper(), "power": 1}]}]},
        {"network": "n", "validator_sets": [{"validators": [{"key": 5, "power": 1}]}]},
        {"network": "n", "validator_sets": [{**ONE_SET, "first_height": 0}]},
        {"network": "n", "validator_sets": [{**ONE_SET, "first_height": "1"}]},
        {"network": "n", "validator_sets": [{**ONE_SET, "last_height": 1.5}]},
        {"network": "n", "validator_sets": [{**ONE_SET, "until": 5}]},
    ],
)
def test_a_trust_anchor_that_says_something_else_is_refused(value: object) -> None:
    with pytest.raises(EvidenceError, match=r"evidence\.bad_trust"):
        parse_trust(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[" * 100_000, b'{"network": "a", "network": "b"}'])
def test_a_trust_anchor_that_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"evidence\.bad_trust"):
        parse_trust(data)


# --- the report and the program -----------------------------------------------------------------------------


def test_the_report_keeps_apart_what_is_proven_and_what_is_not() -> None:
    text = as_text(check(receipt_file(17)))
    proven, not_assessed = text.split("Not assessed:")
    assert "points.issue('miles', 'holder-17', 171" in proven
    assert "2023-11-14T22:13:24.000000004Z" in proven
    assert "whether what was written is true" in not_assessed
    for evidence, said in (
        (receipt_file(14), "rejected (points.not_enough_units)"),
        (row_file(9), "[9, 'miles', 'holder-9', 91]"),
        (row_file(9), "has under key 9 (bytes 8000000000000009) this row:"),
        (row_file(9), "the values are in the order of the table's fields"),
        (row_file(20), "has no row under key 20 (bytes 8000000000000014);"),
        (
            range_file(20, 21),
            "where the key begins with 20 (bytes 8000000000000014), these rows and no others:",
        ),
        (range_file(20, 21), "(none)"),
        (
            range_file(7, 9),
            "from key 7 (bytes 8000000000000007) on and before key 9 (bytes 8000000000000009)",
        ),
        (range_file(7, 9), "    key 8 (bytes 8000000000000008): [8, "),
    ):
        assert said in as_text(check(evidence))


def test_the_report_gives_a_terminal_no_commands() -> None:
    key = signing_key(1)
    body = encode([1, "simulated-net", key.public_key, 5, b"nonce", [["\x1b[2J", "\u202e", ["\x1b[31m"]]]])
    envelope = encode([body, key.sign(b"guildbook/sign/v1\0" + body)])
    receipt = encode([tagged("transaction", body), 1, 0, 1, "\x1b]0;", [], [], [["\x07", "\x08", []], 5]])
    evidence, trust = leaf_file(receipt, envelope)
    text = as_text(check(evidence, trust))
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_call_is_reported_as_it_is_written() -> None:
    key = signing_key(1)
    calls = [["shed", "take_back", ["drill-1"]], ["shed", "count", []]]
    body = encode([1, "simulated-net", key.public_key, 5, b"nonce", calls])
    envelope = encode([body, key.sign(b"guildbook/sign/v1\0" + body)])
    receipt = encode([tagged("transaction", body), 1, 0, 0, "", [], [None, 1], []])
    text = as_text(check(*leaf_file(receipt, envelope)))
    assert "    shed.take_back('drill-1')\n    shed.count()\n" in text


def absence_text(key: bytes) -> str:
    """The line of a report that says that there is no row under `key`."""
    verdict = check(row_file(20))
    text = as_text(replace(verdict, fact=AbsenceFact("shed.tools", key)))
    assert all(character.isprintable() or character == "\n" for character in text)
    return next(line for line in text.splitlines() if "no row under" in line).partition("under ")[2]


def test_the_report_reads_the_components_of_a_key() -> None:
    two = encode_text("saw-1") + encode_int(-3)
    assert absence_text(two) == f"key 'saw-1', -3 (bytes {two.hex()});"
    digest = bytes(range(0xC0, 0xE0))
    assert (
        absence_text(encode_int(5) + digest)
        == f"key 5, {digest.hex()} (bytes {(encode_int(5) + digest).hex()});"
    )


@pytest.mark.parametrize(
    "key",
    [
        b"\0",
        b"\0\0",
        b"\x80\0",
        b"saw",
        encode_text("\x1b[2J"),
        encode_text("\u202e"),
        b"\xff\0\0",
        encode_int(2**62),
    ],
)
def test_a_key_that_cannot_be_read_is_reported_as_bytes(key: bytes) -> None:
    assert absence_text(key) == f"key of bytes {key.hex()};"


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (b"", None, "has, from its first key to its last, these rows"),
        (encode_int(1), None, "has, from key 1 (bytes 8000000000000001) on, these rows"),
        (b"", encode_int(1), "has, before key 1 (bytes 8000000000000001), these rows"),
        (
            encode_text("a"),
            prefix_end(encode_text("a")),
            "has, where the key begins with 'a' (bytes 610000), these",
        ),
    ],
)
def test_the_report_says_which_keys_a_range_has(start: bytes, end: bytes | None, said: str) -> None:
    verdict = check(range_file(20, 21))
    assert said in as_text(replace(verdict, fact=RangeFact("shed.loans", start, end, ())))


def test_the_report_in_json_has_the_same_facts() -> None:
    for evidence in (receipt_file(17), receipt_file(14), row_file(9), row_file(20), range_file(10, 15)):
        found = json.loads(json.dumps(as_json(check(evidence))))
        assert found["verified"] is True
        assert found["kind"] == evidence.subject.kind
        assert found["not_assessed"]
    assert as_json(check(receipt_file(17)))["fact"]["signed"]["key"].startswith("ed25519:")
    without = with_subject(receipt_file(17), envelope=None)
    assert as_json(check(without))["fact"]["signed"] is None


def test_the_program_says_verified_or_why_not(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file, trust = tmp_path / "a.evidence", tmp_path / "trust.json"
    file.write_bytes(encode_evidence(receipt_file(17)))
    trust.write_bytes(format_trust(ledger().trust()))
    assert main([str(file), "--trust", str(trust)]) == 0
    assert capsys.readouterr().out.startswith("VERIFIED: receipt on network simulated-net")
    assert main([str(file), "--trust", str(trust), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["height"] == 4

    trust.write_bytes(format_trust(replace(ledger().trust(), network="other-net")))
    assert main([str(file), "--trust", str(trust)]) == 6
    assert "step 2 of 8 (network)" in capsys.readouterr().out
    assert main([str(file), "--trust", str(trust), "--json"]) == 6
    refusal = json.loads(capsys.readouterr().out)
    assert (refusal["verified"], refusal["step"]) == (False, "network")
    assert main([str(tmp_path / "absent"), "--trust", str(trust)]) == 2
    assert "cannot read" in capsys.readouterr().err
