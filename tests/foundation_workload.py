"""A seeded workload over documents, messages and consents, and an auditor who reads receipts alone.

The workload draws commands that mostly make sense, and spoils some. They go through the whole ledger, several in a
block. The auditor never reads a row to form its opinion: it keeps its books from what was signed and what the receipts
say, and compares them with the rows afterwards.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clerk_contract import Clerk
from guildbook.chain.receipt import Outcome, Receipt
from guildbook.foundation.documents import Fingerprint
from guildbook.foundation.messages import Entry, Identifier
from guildbook.primitives.hashing import sha256
from guildbook.testing.ledger import TestLedger

DAY = 24 * 3600 * 1000
BANKS = ("reed-bank", "hill-bank", "fen-bank")
ACTORS = {
    "mill/boss": ["documents:issuer", "consents:giver", "messages:operator"],
    "bureau/server": ["consents:custodian", "consents:server"],
    "town/anna": [],
    **{f"{bank}/{bank}-desk": ["documents:holder", "consents:reader"] for bank in BANKS},
}
Call = tuple[str, str, dict[str, Any]]
"""Who signs, ``contract.command``, and the arguments by name."""


@dataclass
class Workload:
    """Draws calls that mostly make sense by the auditor's books; the same seed draws the same calls."""

    source: random.Random
    books: "Auditor"
    documents: int = 0
    messages: int = 0
    references: int = 0

    def opening(self, now: int) -> Iterator[Call]:
        """What founds the world."""
        boss = "mill/boss"
        yield boss, "messages.open_channel", {"channel": "bank", "counterparty": "reed-bank"}
        yield boss, "messages.admit", {"channel": "bank", "party": "reed-bank-desk"}
        yield "bureau/server", "consents.open_collection", {"collection": "credit", "data_types": ("a", "b")}
        for number in range(4):
            yield self._register(now, number)
            for bank in BANKS:
                yield self._permit(now, f"d-{number}", bank)

    def _any(self, *choices: Any) -> Any:
        return self.source.choice(choices)

    def _reference(self) -> str:
        self.references += self.source.random() < 0.9
        return f"r-{self.references}"

    def _register(self, now: int, number: int) -> Call:
        value = sha256(str(self.source.randrange(40)).encode())
        self.documents = max(self.documents, number + 1)
        return "mill/boss", "documents.register", {
            "document": f"d-{number}", "kind": "invoice", "scope": "trade", "issuer": "mill", "digest": sha256(b"d"),
            "currency": "EUR", "face_minor": 1_000, "capacity_minor": self._any(500, 1_000),
            "fingerprints": (Fingerprint(combination="number", value=value),),
            "valid_until": self._any(None, now + 90 * DAY)}  # fmt: skip

    def _permit(self, now: int, document: str, bank: str) -> Call:
        return "mill/boss", "documents.permit", {
            "document": document, "grantee_kind": "organisation", "grantee": bank, "limit_minor": 800,
            "valid_until": now + 60 * DAY}  # fmt: skip

    def call(self, now: int) -> Call:
        """The next call."""
        kind = self.source.choices((self._document, self._message, self._consent), (6, 3, 3))[0]
        signer, name, arguments = kind(now)
        return (self._any(*ACTORS) if self.source.random() < 0.06 else signer), name, arguments

    def _document(self, now: int) -> Call:
        document, bank = f"d-{self.source.randrange(self.documents)}", self._any(*BANKS)
        desk, boss, amount = f"{bank}/{bank}-desk", "mill/boss", self._any(1, 50, 200, 600)
        draw = self.source.random()
        if draw < 0.06:
            return self._register(now, self.documents)
        if draw < 0.20:
            return self._permit(now, document, bank)
        if draw < 0.55 or not self.books.taken:
            ends = self._any(None, now + DAY, now + 9 * DAY)
            return desk, "documents.encumber", {"reference": self._reference(), "document": document, "purpose": "loan",
                                                "amount_minor": amount, "holder": bank, "expires_at": ends}  # fmt: skip
        if draw < 0.85:
            act, encumbrance = self._any("release", "settle"), self._any(*self.books.taken)
            holder = self.books.holders[encumbrance]
            return f"{holder}/{holder}-desk", f"documents.{act}", {
                "reference": self._reference(), "encumbrance": encumbrance, "amount_minor": self._any(None, 1, 40),
            }  # fmt: skip
        if draw < 0.89:
            return boss, "documents.credit", {"document": document, "note": sha256(bytes([self.source.randrange(99)])),
                                              "amount_minor": amount}  # fmt: skip
        if draw < 0.95:
            return "town/anna", "documents.expire_encumbrances", {"limit": self._any(1, 100)}
        act = self._any("suspend", "resume", "resume", "resume", "close", "cancel")
        return boss, f"documents.{act}", {"document": document, "reason": "as it goes"}

    def _message(self, _now: int) -> Call:
        value = f"E-{self.source.randrange(12)}"
        if self.source.random() < 0.4:
            return "mill/boss", "messages.expect", {"channel": "bank", "kind": "EndToEndId", "value": value,
                                                    "reference": f"request-{value[2:]}"}  # fmt: skip
        if self.source.random() < 0.2:
            return "mill/boss", "messages.queue", {"channel": "bank", "kind": "payment", "schema": "pain.001.001.09",
                                                   "reference": f"request-{value[2:]}", "source": ()}  # fmt: skip
        self.messages += self.source.random() < 0.8
        ids = tuple(Identifier(kind="EndToEndId", value=f"E-{self.messages % 12 + each}") for each in range(2))
        entries = tuple(Entry(kind="booking", identifiers=ids[: self.messages % 3]) for _ in range(2))
        return "reed-bank/reed-bank-desk", "messages.take", {
            "channel": "bank", "schema": "camt.054.001.08", "origin": "REEDXX", "message_id": f"m-{self.messages}",
            "digest": sha256(self._any(b"x", b"x", b"x", b"y")), "entries": entries}  # fmt: skip

    def _consent(self, now: int) -> Call:
        bank, draw = self._any(*BANKS), self.source.random()
        if draw < 0.3 or not self.books.recipients:
            return "mill/boss", "consents.give", {
                "reference": self._reference(), "subject_kind": "organisation", "subject": "mill", "recipient": bank,
                "collection": "credit", "data_types": ("a",), "purpose": "loan", "mode": "view",
                "valid_until": now + self._any(1, 30) * DAY, "reads_max": 2, "period_ms": self._any(None, DAY),
            }  # fmt: skip
        number = self._any(*self.books.recipients)
        if draw < 0.4:
            return "mill/boss", "consents.revoke", {"consent": number}
        reader = f"{self._any(bank, *[self.books.recipients[number]] * 4)}-desk"
        return "bureau/server", "consents.record_read", {
            "reference": self._reference(), "consent": number, "reader": reader, "purpose": "loan",
            "mode": "view", "data_types": ("a",), "records": 1, "request": sha256(b"q")}  # fmt: skip


@dataclass
class Auditor:
    """Books from signed calls and receipts."""

    capacity: dict[str, int] = field(default_factory=dict)
    taken: dict[int, list[Any]] = field(default_factory=dict)
    """Of each encumbrance: document, what remains, what was settled."""
    holders: dict[int, str] = field(default_factory=dict)
    recipients: dict[int, str] = field(default_factory=dict)
    """Of each consent."""
    bank: dict[str, str] = field(default_factory=dict)
    """Which reference each identifier is expected for."""
    items: dict[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    applied: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def note(self, call: Call, receipt: Receipt) -> None:
        """Enter one transaction; raises AssertionError where a receipt contradicts the books."""
        signer, _name, arguments = call
        if receipt.outcome != Outcome.APPLIED:
            assert receipt.code != "call.contract_fault", call
            assert receipt.events == [], call
            self.refused[receipt.code] = self.refused.get(receipt.code, 0) + 1
            self._refusal(receipt, arguments)
            return
        self.applied += 1
        for _contract, event, fields in receipt.events:
            handle = getattr(self, f"_{event}", None)
            if handle is not None:
                handle(signer, arguments, receipt, fields)
        for document in self.capacity:
            assert self.free(document) >= 0, (call, document)

    def free(self, document: str) -> int:
        """What is neither taken nor used up."""
        gone = sum(left + used for owner, left, used in self.taken.values() if owner == document)
        return self.capacity[document] - int(gone)

    def _refusal(self, receipt: Receipt, arguments: dict[str, Any]) -> None:
        told = dict(receipt.fields)
        if receipt.code.startswith("documents."):
            assert not any(bank in str(receipt.fields) for bank in BANKS), "a refusal names nobody"
        if receipt.code == "documents.over_capacity":
            assert told["remaining_minor"] >= self.free(arguments["document"])
            assert told["remaining_minor"] < arguments["amount_minor"]

    def _registered(self, _signer: str, arguments: dict[str, Any], _receipt: Receipt, _fields: list[Any]) -> None:
        assert arguments["document"] not in self.capacity
        self.capacity[arguments["document"]] = arguments["capacity_minor"]

    def _credited(self, _signer: str, arguments: dict[str, Any], _receipt: Receipt, _fields: list[Any]) -> None:
        self.capacity[arguments["document"]] -= arguments["amount_minor"]

    def _encumbered(self, signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        assert signer == "mill/boss" or signer.startswith(arguments["holder"]), "a bank encumbers for itself"
        number = receipt.results[0]
        assert number == len(self.taken) + 1
        self.taken[number] = [arguments["document"], arguments["amount_minor"], 0]
        self.holders[number] = arguments["holder"]

    def _released(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        self._less(arguments, receipt, 0)

    def _settled(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        self._less(arguments, receipt, 1)

    def _less(self, arguments: dict[str, Any], receipt: Receipt, used: int) -> None:
        book = self.taken[arguments["encumbrance"]]
        amount = book[1] if arguments["amount_minor"] is None else arguments["amount_minor"]
        book[1], book[2] = book[1] - amount, book[2] + amount * used
        assert receipt.results[0] == book[1] >= 0

    def _expired(self, _signer: str, _arguments: dict[str, Any], _receipt: Receipt, fields: list[Any]) -> None:
        number, _document, amount = fields
        assert self.taken[number][1] == amount
        self.taken[number][1] = 0

    def _taken(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        for place, entry in enumerate(arguments["entries"], 1):
            key = (receipt.results[0], place)
            assert key not in self.items
            self.items[key] = tuple(one.value for one in entry.identifiers)

    def _expected(self, _signer: str, arguments: dict[str, Any], _receipt: Receipt, _fields: list[Any]) -> None:
        self.bank[arguments["value"]] = arguments["reference"]

    def _queued(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        self.sent.append(arguments["reference"])
        assert receipt.results[0] == len(self.sent)

    def _consent_given(self, signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        assert signer == "mill/boss"
        assert receipt.results[0] not in self.recipients
        self.recipients[receipt.results[0]] = arguments["recipient"]

    def _read_recorded(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        consent = arguments["consent"]
        assert consent not in self.ended, "no read after the end"
        assert arguments["reader"] == f"{self.recipients[consent]}-desk"
        self.reads[consent] = self.reads.get(consent, 0) + 1
        assert receipt.results[0] == sum(self.reads.values())

    def _consent_revoked(self, _signer: str, arguments: dict[str, Any], receipt: Receipt, _fields: list[Any]) -> None:
        self.ended[arguments["consent"]] = receipt.height

    def compare(self, ledger: TestLedger) -> None:
        """The books are what the rows say."""
        for row in ledger.rows("documents.documents"):
            mine = [one for one in self.taken.values() if one[0] == row.id]
            assert row.capacity_minor == self.capacity[row.id]
            assert row.encumbered_minor == sum(one[1] for one in mine)
            assert row.settled_minor == sum(one[2] for one in mine)
        assert {row.number: [row.document, row.remaining_minor, row.settled_minor]
                for row in ledger.rows("documents.encumbrances")} == self.taken  # fmt: skip
        for row in ledger.rows("messages.items"):
            meant = {self.bank[value] for value in self.items.pop((row.message, row.position)) if value in self.bank}
            assert row.state == ("unmatched", "matched", "quarantined")[min(len(meant), 2)]
        assert self.items == {}
        assert [row.reference for row in ledger.rows("messages.outbound")] == self.sent
        assert len(set(self.sent)) == len(self.sent)
        for row in ledger.rows("consents.consents"):
            assert row.reads == self.reads.get(row.number, 0)


def run(seed: int, blocks: int) -> tuple[TestLedger, Auditor]:
    """A ledger after ``blocks`` blocks of one to five calls, and the auditor who watched."""
    ledger, auditor = TestLedger(Clerk, actors=ACTORS), Auditor()
    source = random.Random(seed)
    workload = Workload(source, auditor)
    waiting = [[one] for one in workload.opening(ledger.now)]
    for _ in range(blocks):
        calls = waiting.pop(0) if waiting else [workload.call(ledger.now) for _ in range(source.randrange(1, 6))]
        envelopes = [ledger.sign(ledger.actor(signer), [(name, (), given)]) for signer, name, given in calls]
        for call, receipt in zip(calls, ledger.cut(envelopes), strict=True):
            auditor.note(call, receipt)
        ledger.advance(seconds=source.choice((0, 60, 3_600, 86_400)))
    return ledger, auditor
