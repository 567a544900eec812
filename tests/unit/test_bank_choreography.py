"""A payment order and all that a bank says about it, with a bank that somebody else wrote, in this process.

The bank (mock-bank) validates what it gets by its own rules, decides each payment, books, reports and returns. Its
answers are read here, and every payment is found again by its end-to-end id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mockbank import accounts, outbox
from mockbank.server import Config
from mockbank.state import State

from guildbook.standards import iso20022 as iso
from guildbook.standards.iso20022 import codes

OURS = iso.Account(iban="NL41MOCK0000000001")


@pytest.fixture
def bank() -> Iterator[State]:
    state = State(Config(clock="2026-03-31T09:00"))
    comes_back = {"days": 2, "reason": "AC04", "end_to_end_id": "E-3"}
    accounts.update(state.conn, "ACME", {"behaviour": "return-later", "parameters": comes_back})
    yield state
    state.conn.close()


def order(*payments: tuple[str, str, str, int]) -> bytes:
    instruction = iso.PaymentInstruction(
        id="B-1",
        method="TRF",
        execution_date=iso.read_date("2026-04-01"),
        debtor=iso.Party(name="Northfold Treasury"),
        debtor_account=OURS,
        debtor_agent=iso.Agent(bic="MOCKNL2A"),
        transfers=tuple(
            iso.CreditTransfer(
                end_to_end_id=end_to_end_id,
                uetr=iso.uetr_of(end_to_end_id.encode()),
                amount=iso.amount(minor, "EUR"),
                creditor=iso.Party(name=f"Payee of {end_to_end_id}"),
                creditor_account=iso.Account(iban=iban),
                creditor_agent=iso.Agent(bic=bic),
            )
            for end_to_end_id, iban, bic, minor in payments
        ),
    )
    made = iso.payment_initiation(
        message_id="ORDER-1",
        created=iso.read_date_time("2026-03-31T09:00:00Z"),
        initiator=iso.Party(name="Northfold Treasury"),
        instructions=[instruction],
    )
    return iso.write(iso.PAIN_001, made)


def answers(bank: State, days: int) -> list[iso.Message]:
    bank.clock.advance(days=days)
    bank.release()
    found = [iso.read(row["body"].encode()) for row in outbox.collect(bank.conn, bank.now())]
    assert all(message.not_carried == () for message in found)
    return found


def bodies(found: list[iso.Message], family: str) -> list[Any]:
    return [message.body for message in found if message.name.startswith(family)]


def test_a_bank_takes_the_order_and_its_answers_read(bank):
    document = order(
        ("E-1", "GB33BUKB20201555555555", "BUKBGB22", 125_000),
        ("E-2", "NL84MOCK0000000003", "MOCKNL2A", 100),
        ("E-3", "CH2801234000123456789", "BANKCHZHXXX", 7_050),
    )
    answer, _, findings = bank.receive(document)
    assert (answer["status"], findings) == ("PART", [])

    first = answers(bank, 0)
    (report,) = bodies(first, "pain.002")
    told = {one.transaction.original_end_to_end_id: one for one in iso.statuses(report)}
    assert {name: one.status for name, one in told.items()} == {"E-1": "ACCP", "E-2": "RJCT", "E-3": "ACCP"}
    assert [reason.code for reason in told["E-2"].reasons] == ["AC04"]
    assert codes.REASONS["AC04"].kind is codes.Kind.ACCOUNT
    assert report.groups[0].original_message_id == "ORDER-1"

    later = [message for _ in range(7) for message in answers(bank, 1)]
    booked = [entry for body in bodies(later, "camt.054") for entry in body.entries]
    assert [
        (entry.status, entry.signed_minor, entry.transactions[0].references.end_to_end_id) for entry in booked
    ] == [("BOOK", -125_000, "E-1"), ("BOOK", -7_050, "E-3"), ("BOOK", 7_050, "E-3")]
    assert booked[2].transactions[0].return_information.code == "AC04"

    (returned,) = bodies(later, "pacs.004")
    (payment,) = returned.transfers
    assert (payment.original_end_to_end_id, payment.returned.minor) == ("E-3", 7_050)
    assert [reason.code for reason in payment.reasons] == ["AC04"]

    statements = [one for body in bodies(later, "camt.053") for one in body.statements]
    ours = [one for one in statements if one.account.number == OURS.iban]
    for one in ours:
        opening, closing = one.balance("OPBD"), one.balance("CLBD")
        moved = sum(entry.signed_minor for entry in one.entries)
        assert opening.amount.minor + moved == closing.amount.minor
    assert sum(entry.signed_minor for one in ours for entry in one.entries) == -125_000


def test_the_same_order_twice_is_refused_by_the_bank_as_a_whole(bank):
    document = order(("E-1", "GB33BUKB20201555555555", "BUKBGB22", 125_000))
    bank.receive(document)
    answers(bank, 0)
    bank.receive(document)
    (report,) = bodies(answers(bank, 0), "pain.002")
    (group,) = report.groups
    assert codes.outcome_of(group.status) is codes.Outcome.REFUSED
    assert codes.REASONS[group.reasons[0].code].kind is codes.Kind.DUPLICATE
