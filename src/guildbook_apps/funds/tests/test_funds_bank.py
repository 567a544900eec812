"""A programme and its bank, end to end: real files over HTTP to a bank on loopback, and its answers on the ledger."""

import threading
from collections.abc import Iterator

import httpx
import pytest
from mockbank.server import Config, make_server

from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.standards.iso20022 import read
from guildbook_apps.funds import adapter
from guildbook_apps.funds.adapter import Holder, PayeeBook, deliveries, payment_file, recall_file
from guildbook_apps.funds.contract import DAY_MS
from guildbook_apps.funds.tests.stage import act, approved, endowed, founded, stage_of, standing, submitted

START = "2026-01-05T09:00"
START_DAY = 20_458
"""2026-01-05, a Monday, in days since 1970."""


def iban(number: int) -> str:
    """An account of a bank that does not exist, with right check digits (ISO 13616)."""
    bban = f"MOCK{number:010d}"
    digits = "".join(str(int(one, 36)) for one in bban + "NL00")
    return f"NL{98 - int(digits) % 97:02d}{bban}"


class Bank:
    """The bank on loopback, as its customer sees it."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)

    def set(self, account: str, **fields: object) -> None:
        answer = self.http.patch(f"/_mock/accounts/{account}", json=fields)
        assert answer.status_code == 200, answer.text

    def opens(self, account: str, **fields: object) -> None:
        answer = self.http.post("/_mock/accounts", json={"id": account, **fields})
        assert answer.status_code == 201, answer.text

    def pay(self, file: bytes) -> int:
        return self.http.post("/payments", content=file, headers={"content-type": "application/xml"}).status_code

    def advance(self, days: int) -> None:
        assert self.http.post("/_mock/advance", params={"days": days}).status_code == 200

    def collect(self, kind: str = "") -> list[bytes]:
        """The messages that the bank sent since the last time."""
        rows = self.http.get("/_mock/mailbox", params={"leave": "", "type": kind} if kind else {"leave": ""}).json()
        found = [self.http.get(f"/_mock/mailbox/{row['id']}").content for row in rows]
        self.http.get("/_mock/mailbox", params={"type": kind} if kind else {})
        return found


@pytest.fixture
def bank() -> Iterator[Bank]:
    with make_server(Config(port=0, quiet=True, clock=START)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        client = Bank(f"http://127.0.0.1:{server.server_address[1]}")
        try:
            client.opens("TREASURY", name="Juniper Province", iban=iban(77), bic="MOCKNL2A", currency="EUR",
                         balance=100_000_000)
            for place, name in enumerate(("ida", "omar"), 81):
                client.opens(name.upper(), name=name.title(), iban=iban(place), bic="MOCKNL2A", currency="EUR")
            yield client
        finally:
            client.http.close()
            server.shutdown()
            thread.join()


BOOK = PayeeBook(
    programme="roofs", currency="EUR", identity_salt="00" * 16,
    debtor=Holder("Juniper Province", "0a" * 16, iban=iban(77), bic="MOCKNL2A"),
    payees={f"p-{name}": Holder(name.title(), f"{place:02x}" * 16, iban=iban(place), bic="MOCKNL2A", identity=name)
            for place, name in enumerate(("ida", "omar"), 81)},
)


class Office:
    """The treasury: makes files of approved requests, and delivers what the bank says."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.stage = endowed(founded("EUR"))
        for payee, holder in BOOK.payees.items():
            act(self.stage, "registrar-one").funds.change_account(payee=payee, account=holder.account_digest)
            act(self.stage, "registrar-two").funds.verify(payee=payee, account=holder.account_digest,
                                                          credential=bytes(32))
        self.stage.advance(days=START_DAY - self.stage.now // DAY_MS)

    def request(self, payee: str = "p-ida", amount: int = 300_000) -> int:
        return approved(self.stage, submitted(self.stage, amount, payee=payee))

    def rows(self, *numbers: int):
        return [self.stage.rows("funds.requests", number)[0] for number in numbers]

    def release(self, *numbers: int, batch: str = "B1") -> bytes:
        file = payment_file(batch, START_DAY, self.rows(*numbers), BOOK)
        act(self.stage, "releaser").funds.release(batch=batch, programme="roofs", requests=list(numbers),
                                                  execution_day=START_DAY, file=sha256(file))
        return file

    def deliver(self, *messages: bytes) -> int:
        """Deliver messages; how many items wait for a person."""
        requests = self.stage.rows("funds.requests")
        holders = {row.end_to_end: row.payee for row in requests}

        def names(batch: str) -> list[tuple[str, str]]:
            return [(row.end_to_end, row.uetr) for row in requests if row.batch == batch]

        waiting = 0
        for message in messages:
            for one in deliveries(message, BOOK, holders, names):
                waiting += act(self.stage, "feed").funds.deliver(**one.arguments("roofs"))
        return waiting

    def stages(self, *numbers: int) -> list[str]:
        return [stage_of(self.stage, number) for number in numbers]


@pytest.fixture
def office(bank) -> Office:
    return Office(bank)


def names_of(messages: list[bytes]) -> list[str]:
    return [read(one).name[:8] for one in messages]


def test_a_payment_is_accepted_booked_and_on_the_statement(office):
    request = office.request()
    assert office.bank.pay(office.release(request)) == 202
    messages = office.bank.collect()
    assert names_of(messages)[0] == "pain.002"
    assert office.deliver(*messages) == 0
    office.bank.advance(1)
    late = office.bank.collect()
    assert "camt.053" in names_of(late)
    assert office.deliver(*late, *messages) == 0
    assert (office.stages(request), standing(office.stage)) == (["settled"], (49_700_000, 0, 300_000))


def test_the_same_rows_and_book_give_the_same_file(office):
    request = office.request()
    rows = office.rows(request)
    assert payment_file("B", START_DAY, rows, BOOK) == payment_file("B", START_DAY, rows, BOOK)
    assert payment_file("B", START_DAY, rows, BOOK) != payment_file("C", START_DAY, rows, BOOK)


def test_a_file_is_not_made_for_an_account_that_the_book_does_not_have(office):
    request = office.request()
    stranger = PayeeBook("roofs", "EUR", "00", BOOK.debtor, {"p-ida": BOOK.payees["p-omar"]})
    with pytest.raises(GuildbookError, match="not the payee book's"):
        payment_file("B1", START_DAY, office.rows(request), stranger)


def test_a_closed_account_in_a_half_accepted_batch(office):
    office.bank.set("OMAR", behaviour="closed-account")
    good, bad = office.request(), office.request("p-omar")
    assert office.bank.pay(office.release(good, bad)) == 202
    assert office.deliver(*office.bank.collect()) == 0
    office.bank.advance(1)
    assert office.deliver(*office.bank.collect()) == 0
    assert office.stages(good, bad) == ["settled", "failed"]
    assert office.stage.rows("funds.payees", "p-omar")[0].status == "enrolled"
    assert standing(office.stage) == (49_700_000, 0, 300_000)


def test_a_whole_file_is_rejected(office):
    office.bank.set("TREASURY", behaviour="reject-file")
    one, two = office.request(), office.request("p-omar")
    assert office.bank.pay(office.release(one, two)) == 422
    assert office.deliver(*office.bank.collect()) == 0
    assert (office.stages(one, two), standing(office.stage)) == (["failed", "failed"], (50_000_000, 0, 0))


def test_a_silent_bank_is_heard_by_its_statement(office):
    office.bank.set("TREASURY", behaviour="silent")
    request = office.request()
    office.bank.pay(office.release(request))
    assert office.bank.collect("pain.002") == []
    office.bank.advance(1)
    statements = office.bank.collect("camt.053")
    assert statements
    assert office.deliver(*statements) == 0
    assert office.stages(request) == ["settled"]


def test_a_statement_with_a_hole_is_made_up_for_by_the_notification(office):
    office.bank.set("TREASURY", behaviour="statement-gap")
    request = office.request()
    office.bank.pay(office.release(request))
    office.bank.advance(1)
    messages = office.bank.collect()
    assert office.deliver(*[one for one in messages if read(one).name.startswith("camt.053")]) == 0
    assert office.stages(request) == ["instructed"]
    assert office.deliver(*messages) == 0
    assert office.stages(request) == ["settled"]


def test_a_late_return_reopens_the_line_whatever_tells_it_first(office):
    office.bank.set("TREASURY", behaviour="return-later", parameters={"days": 2})
    request = office.request("p-omar")
    office.bank.pay(office.release(request))
    office.bank.advance(1)
    office.deliver(*office.bank.collect())
    assert office.stages(request) == ["settled"]
    office.bank.advance(5)
    messages = office.bank.collect()
    assert "pacs.004" in names_of(messages)
    assert office.deliver(*messages) == 0
    assert (office.stages(request), standing(office.stage)) == (["returned"], (50_000_000, 0, 0))


def test_a_file_sent_twice_is_rejected_as_duplicate_and_pays_once(office):
    request = office.request()
    file = office.release(request)
    assert office.bank.pay(file) == 202
    first = office.bank.collect()
    assert office.bank.pay(file) == 422
    second = office.bank.collect()
    office.deliver(*first)
    assert office.deliver(*second) == 1
    office.bank.advance(1)
    assert office.deliver(*office.bank.collect()) == 0
    assert (office.stages(request), standing(office.stage)) == (["settled"], (49_700_000, 0, 300_000))


def test_a_recall_names_the_payment(office):
    request = office.request()
    office.bank.pay(office.release(request))
    row, batch = office.rows(request)[0], office.stage.rows("funds.batches", "B1")[0]
    file = recall_file(row, batch, "CUST", BOOK)
    act(office.stage, "releaser").funds.recall(request=request, reason="CUST", file=sha256(file))
    body = read(file).body
    transaction = body.underlying[0].transactions[0]
    assert (transaction.original_end_to_end_id, transaction.original_uetr) == (row.end_to_end, row.uetr)
    sent = office.stage.rows("messages.outbound")
    assert [one.schema for one in sent] == ["pain.001.001.09", "camt.056.001.08"]
    assert sent[1].produced == sha256(file)


def test_what_is_no_bank_message_is_refused_with_its_place(office):
    for data in (b"", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", office.release(office.request())):
        with pytest.raises(GuildbookError) as caught:
            deliveries(data, BOOK, {}, file="in.xml")
        assert caught.value.code.startswith("standards.")


def test_a_long_message_is_delivered_in_parts(office, monkeypatch):
    numbers = [office.request(amount=1_000) for _ in range(3)]
    office.bank.pay(office.release(*numbers))
    office.bank.advance(1)
    statements = [one for one in office.bank.collect() if read(one).name.startswith("camt.053")]
    whole = max((deliveries(one, BOOK, {}) for one in statements), key=lambda parts: len(parts[0].entries))
    assert [len(one.entries) for one in whole] == [3]
    monkeypatch.setattr(adapter, "ENTRIES_PER_PART_MAX", 2)
    parts = max((deliveries(one, BOOK, {}) for one in statements), key=len)
    assert [(one.part, len(one.entries)) for one in parts] == [(1, 2), (2, 1)]
    assert {one.digest for one in parts} == {whole[0].digest}
    assert sum(act(office.stage, "feed").funds.deliver(**one.arguments("roofs")) for one in parts) == 0
    assert office.stages(*numbers) == ["settled"] * 3
