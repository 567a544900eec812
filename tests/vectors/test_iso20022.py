"""ISO 20022 against the standard's own schemas and other people's samples; and every refusal by its name."""

from __future__ import annotations

from typing import Any

import pytest

from guildbook.foundation import money
from guildbook.primitives.errors import ERRORS, GuildbookError
from guildbook.standards import amounts
from guildbook.standards import iso20022 as iso
from guildbook.standards.iso20022 import codes
from guildbook.standards.iso20022.cancellation import CancellationDetails, CancellationStatus, Resolution
from guildbook.standards.iso20022.components import OriginalTransaction, Settlement
from guildbook.standards.iso20022.statements import (
    Balance,
    BankTransactionCode,
    EntryDetails,
    References,
    ReportHeader,
    ReturnInformation,
)
from guildbook.standards.iso20022.status import GroupStatus, InstructionStatus, StatusCount
from shared_data import shared

MOMENT = iso.read_date_time("2026-03-31T09:30:00.000Z")
DAY = iso.read_date("2026-04-01")
TREASURY = iso.Party(name="Northfold Treasury", organisation_ids=(iso.OtherId("NT-01", scheme="CUST"),))
SCHOOL = iso.Party(
    name="Weir School & Sons", address=iso.Address(street="Mill Lane", town="Weir", country="NL")
)
BANK, OTHER_BANK = iso.Agent(bic="KREDBEBB"), iso.Agent(bic="BANKDEFFXXX")
ACCOUNT, PAYEE = iso.Account(iban="NL56AGDH9619008421"), iso.Account(iban="GB33BUKB20201555555555")


def transfer(
    number: int = 1, text: str = "1250.00", currency: str = "EUR", **more: Any
) -> iso.CreditTransfer:
    fields: dict[str, Any] = {
        "end_to_end_id": f"NF-2026-{number:06d}",
        "instruction_id": f"I-{number}",
        "uetr": iso.uetr_of(b"northfold", number.to_bytes(8, "big")),
        "amount": iso.read_amount(text, currency),
        "creditor_agent": OTHER_BANK,
        "creditor": SCHOOL,
        "creditor_account": PAYEE,
        "purpose": "GOVT",
        "remittance": iso.Remittance(unstructured=("Milestone 2, contract 14/2026",)),
    }
    return iso.CreditTransfer(**(fields | more))


def order(*transfers: iso.CreditTransfer, **more: Any) -> iso.PaymentInitiation:
    instruction = iso.PaymentInstruction(
        id="B-1", method="TRF", execution_date=DAY, debtor=TREASURY, debtor_account=ACCOUNT, debtor_agent=BANK,
        transfers=transfers, batch_booking=True, charge_bearer="SLEV",
    )  # fmt: skip
    fields: dict[str, Any] = {"message_id": "M-1", "created": MOMENT, "initiator": TREASURY}
    return iso.payment_initiation(**(fields | {"instructions": [instruction]} | more))


def recall(**more: Any) -> iso.CancellationRequest:
    transaction = iso.CancelledTransaction(
        cancellation_id="C-1",
        original_group=iso.OriginalGroup("M-1", "pacs.008.001.08", MOMENT),
        original_end_to_end_id="NF-2026-000001",
        original_uetr=iso.uetr_of(b"northfold", (1).to_bytes(8, "big")),
        original_amount=iso.read_amount("1250.00", "EUR"),
        original_date=DAY,
        reasons=(iso.Reason(originator=TREASURY, code="DUPL", additional=("Paid twice",)),),
    )
    fields: dict[str, Any] = {
        "id": "R-1",
        "created": MOMENT,
        "assigner": iso.Party(agent=BANK),
        "assignee": iso.Party(agent=OTHER_BANK),
        "case": iso.Case("CASE-1", creator=iso.Party(agent=BANK)),
        "transactions": [transaction],
    }
    return iso.cancellation_request(**(fields | more))


def statement(**more: Any) -> iso.Statement:
    entry = iso.Entry(
        amount=iso.read_amount("1250.00", "EUR"),
        indicator="CRDT",
        status="BOOK",
        code=BankTransactionCode(domain="PMNT", family="ICDT", sub_family="RRTN"),
        reversal=False,
        booked=DAY,
        value=DAY,
        servicer_reference="BANK-77",
        details=(
            EntryDetails(
                transactions=(
                    iso.TransactionDetail(
                        references=References(end_to_end_id="NF-2026-000001"),
                        amount=iso.read_amount("1250.00", "EUR"),
                        indicator="CRDT",
                        debtor=SCHOOL,
                        debtor_account=PAYEE,
                        return_information=ReturnInformation(code="AC04"),
                    ),
                )
            ),
        ),
    )
    fields: dict[str, Any] = {"id": "S-1", "account": ACCOUNT, "created": MOMENT, "entries": (entry,)}
    return iso.Statement(**(fields | more))


BALANCES = (
    Balance(iso.read_amount("0", "EUR"), "CRDT", DAY, type="OPBD"),
    Balance(iso.read_amount("1250.00", "EUR"), "CRDT", DAY, type="CLBD"),
)
HEADER = ReportHeader("BANK-1", MOMENT)
ANSWERS: dict[str, Any] = {
    "camt.029.001.09": Resolution(
        id="A-1",
        created=MOMENT,
        assigner=iso.Party(agent=OTHER_BANK),
        assignee=iso.Party(agent=BANK),
        confirmation="RJCR",
        details=(
            CancellationDetails(
                transactions=(
                    CancellationStatus(
                        original_end_to_end_id="NF-2026-000001", status="RJCR", reasons=(iso.Reason(code="CUST"),)
                    ),
                )
            ),
        ),
    ),
    "camt.052.001.08": iso.AccountReport(HEADER, (statement(),)),
    "camt.053.001.08": iso.AccountReport(
        HEADER, (statement(balances=BALANCES), statement(balances=BALANCES, id="S-2"))
    ),
    "camt.054.001.08": iso.AccountReport(HEADER, (statement(),)),
    "camt.056.001.08": recall(),
    "pacs.002.001.10": iso.StatusReport(
        message_id="P-1",
        created=MOMENT,
        transactions=(
            iso.TransactionStatus(original_end_to_end_id="E-1", status="RJCT", reasons=(iso.Reason(code="AM04"),)),
        ),
    ),
    "pacs.004.001.10": iso.PaymentReturn(
        message_id="RT-1",
        created=MOMENT,
        count=1,
        settlement=Settlement("CLRG"),
        transfers=(
            iso.ReturnedTransfer(
                returned=iso.read_amount("1250.00", "EUR"),
                return_id="RT-1-1",
                original_end_to_end_id="NF-2026-000001",
                original_amount=iso.read_amount("1250.00", "EUR"),
                settlement_date=DAY,
                reasons=(iso.Reason(code="AC04"),),
            ),
        ),
    ),
    "pacs.008.001.08": iso.InterbankPayments(
        message_id="IB-1",
        created=MOMENT,
        count=1,
        settlement=Settlement("CLRG"),
        transfers=(
            iso.InterbankTransfer(
                end_to_end_id="NF-2026-000001", settled=iso.read_amount("1250.00", "EUR"), settlement_date=DAY,
                charge_bearer="SLEV", debtor=TREASURY, debtor_account=ACCOUNT, debtor_agent=BANK,
                creditor_agent=OTHER_BANK, creditor=SCHOOL, creditor_account=PAYEE,
            ),
        ),
    ),
    "pain.001.001.09": order(transfer(1), transfer(2, "0.10")),
}  # fmt: skip


def schema(name: str) -> bytes:
    return shared(f"payments/iso20022-xsd/{name}.xsd").read_bytes()


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_what_is_written_is_valid_by_the_standards_schema(name):
    written = iso.write(name, ANSWERS[name])
    assert iso.validation_findings(written, schema(name)) == ()
    assert iso.read(written).body == ANSWERS[name]


def test_every_written_message_has_its_schema_checked_but_one():
    assert set(iso.WRITTEN) - set(ANSWERS) == {"pain.002.001.10"}, "its schema is not among the data"


@pytest.mark.parametrize(
    ("text", "currency"), [("1500", "JPY"), ("12.345", "BHD"), ("0.0001", "CLF"), ("99.9", "CNY")]
)
def test_an_order_in_any_currency_is_valid_and_exact(text, currency):
    written = iso.write(iso.PAIN_001, order(transfer(1, text, currency)))
    assert iso.validation_findings(written, schema("pain.001.001.09")) == ()
    assert f'<InstdAmt Ccy="{currency}">{text}</InstdAmt>'.encode() in written


def test_counts_and_sums_are_computed():
    made = order(transfer(1, "10.5"), transfer(2, "1500", "JPY"), transfer(3, "0.125", "BHD"))
    assert (made.count, made.control_sum) == (3, "1510.625")
    assert (made.instructions[0].count, made.instructions[0].control_sum) == (3, "1510.625")


def test_the_bytes_of_an_order_are_pinned():
    import hashlib

    digest = hashlib.sha256(iso.write(iso.PAIN_001, order(transfer(1), transfer(2, "0.10")))).hexdigest()
    assert digest == "b1466f0ee63df81d89450e894f0ac4778d187b9ef55bdabf0f73504c33789cf4"


def test_a_status_report_says_what_counts_for_each_transaction():
    rejected = iso.TransactionStatus(
        original_end_to_end_id="E-1",
        status="RJCT",
        reasons=(iso.Reason(code="AC01", additional=("no such account",)),),
    )
    report = iso.StatusReport(
        message_id="S-1",
        created=MOMENT,
        groups=(GroupStatus("M-1", "pain.001.001.09", status="PART"),),
        instructions=(
            InstructionStatus(
                "B-1", status="PART", counts=(StatusCount(1, "RJCT"), StatusCount(1, "ACSC")),
                transactions=(rejected, iso.TransactionStatus(original_end_to_end_id="E-2", status="ACSC")),
            ),
            InstructionStatus(
                "B-2", status="ACSP", transactions=(iso.TransactionStatus(original_end_to_end_id="E-3"),)
            ),
        ),
    )  # fmt: skip
    message = iso.read(iso.write("pain.002.001.10", report))
    assert message.body == report
    found = [(one.transaction.original_end_to_end_id, one.status, one.level) for one in iso.statuses(report)]
    assert found == [
        ("E-1", "RJCT", "transaction"),
        ("E-2", "ACSC", "transaction"),
        ("E-3", "ACSP", "instruction"),
    ]
    outcomes = [str(codes.outcome_of(one.status)) for one in iso.statuses(report)]
    assert outcomes == ["refused", "settled", "waiting"]
    assert codes.REASONS["AC01"].kind is codes.Kind.ACCOUNT
    assert codes.outcome_of("ZZZZ") is None


def test_the_currency_table_is_the_one_of_the_money_contract():
    assert money.EXPONENTS == amounts.EXPONENTS


def test_every_code_is_four_characters_and_has_a_name():
    named = {code: meaning.name for code, meaning in codes.STATUSES.items()}
    named |= {code: meaning.name for code, meaning in codes.REASONS.items()}
    assert all(len(code) == 4 and name.isalpha() for code, name in named.items())


VERDICTS = {
    "iso20022-camt": (16, {"standards.missing": 1}),
    "iso20022-fednow": (4, {"standards.unknown_message": 2}),
    "iso20022-pain": (4, {}),
    "iso20022-prowide": (9, {"standards.unknown_message": 5}),
    "iso20022-rtp": (6, {"standards.unknown_message": 24}),
}


def refusal(document: bytes, file: str) -> GuildbookError | None:
    try:
        iso.read(document, file=file)
    except GuildbookError as error:
        return error
    return None


@pytest.mark.parametrize("folder", sorted(VERDICTS))
def test_every_sample_is_read_or_refused_with_its_place(folder):
    root = shared(f"payments/{folder}")
    taken, counts = 0, dict[str, int]()
    for path in sorted(root.rglob("*.xml")):
        file = str(path.relative_to(root))
        error = refusal(path.read_bytes(), file)
        if error is None:
            taken += 1
            continue
        counts[error.code] = counts.get(error.code, 0) + 1
        assert error.code in ERRORS
        assert error.fields["file"] == file
        assert error.fields["line"] != 0
        assert str(error.fields["path"]).startswith("/")
        assert error.fields["reason"]
    assert (taken, counts) == VERDICTS[folder]


def test_samples_of_networks_read_in_their_envelopes():
    fednow = shared("payments/iso20022-fednow/testdata/sample-participant-to-fednow-message.xml")
    message = iso.read(fednow.read_bytes())
    assert message.name == "pacs.008.001.08"
    assert message.header.message_name == "pacs.008.001.08"
    assert message.header.sender.agent.member_id == "111111111"
    assert message.body.transfers[0].settled == iso.read_amount("51.74", "USD")
    assert message.body.transfers[0].uetr == "8a562c67-ca16-48ba-b074-65581be6f011"
    answer = iso.read(shared("payments/iso20022-rtp/camt029.xml").read_bytes()).body
    assert answer.confirmation == "IPAY"
    assert answer.details[0].transactions[0].resolved_amount == iso.read_amount("17272.16", "USD")
    request = iso.read(shared("payments/iso20022-rtp/camt056.timeout.xml").read_bytes()).body
    assert request.underlying[0].transactions[0].reasons[0].code == "DS24"


def test_an_element_that_the_standard_does_not_know_is_named_as_not_carried():
    sample = shared("payments/iso20022-prowide/issues/11/samplemsg.002.001.08-invalidElement.xml")
    message = iso.read(sample.read_bytes())
    assert "/BusMsg/Document/FIToFIPmtStsRpt/TxInfAndSts/InstrForCdtrAcct" in message.not_carried


def test_a_schema_names_what_the_reader_cannot_judge():
    written = iso.write("pacs.002.001.10", ANSWERS["pacs.002.001.10"])
    spoilt = written.replace(b"<TxSts>", b"<Invented>1</Invented><TxSts>")
    (finding, *_) = iso.validation_findings(spoilt, schema("pacs.002.001.10"), file="status.xml")
    assert (finding.code, finding.fields["file"]) == ("standards.bad_value", "status.xml")
    assert finding.fields["line"] == 10
    assert "Invented" in str(finding.fields["reason"])


# Refusals


def refused(document: bytes) -> GuildbookError:
    with pytest.raises(GuildbookError) as error:
        iso.read(document, file="f.xml")
    assert error.value.fields["file"] == "f.xml"
    return error.value


STATUS = """<?xml version="1.0" encoding="{encoding}"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10"><FIToFIPmtStsRpt><GrpHdr>
<MsgId>{id}</MsgId><CreDtTm>{created}</CreDtTm></GrpHdr>{more}</FIToFIPmtStsRpt></Document>"""


def status(
    *, name: str = "M", created: str = "2026-01-01T00:00:00Z", more: str = "", encoding: str = "UTF-8"
) -> str:
    return STATUS.format(id=name, created=created, more=more, encoding=encoding)


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]>',
        '<!DOCTYPE a SYSTEM "http://example.invalid/a.dtd">',
        '<?pi?><!-- a > b --> <!DOCTYPE a [<!ENTITY x0 "x"><!ENTITY x1 "&x0;&x0;"><!ENTITY x2 "&x1;&x1;">]>',
        '<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_a_document_type_declaration_is_refused(prolog):
    declared = status().replace("?>\n", f"?>\n{prolog}\n", 1)
    assert refused(declared.encode()).code == "standards.forbidden"
    assert refused(declared.encode("utf-16")).code == "standards.forbidden"


def test_an_entity_that_nobody_declared_is_refused():
    assert refused(status(name="&unknown;").encode()).code == "standards.malformed"


def test_elements_too_deep_in_one_another_are_refused():
    deep = b"<a>" * 300 + b"</a>" * 300
    assert refused(deep).code == "standards.malformed"


def test_a_document_larger_than_the_limit_is_refused_unread(monkeypatch):
    from guildbook.standards import xml

    monkeypatch.setattr(xml, "DOCUMENT_SIZE_BYTES_MAX", 100)
    assert refused(b" " * 101).code == "standards.too_large"


def test_a_text_longer_than_the_limit_is_refused():
    assert refused(status(name="x" * 20_001).encode()).code == "standards.too_large"


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "windows-1252", "UTF-16", "US-ASCII"])
def test_encodings_are_read_by_their_declaration(encoding):
    name = "M-é" if encoding != "US-ASCII" else "M-e"
    document = status(name=name, encoding=encoding).encode(encoding)
    assert iso.read(document).body.message_id == name


@pytest.mark.parametrize(
    "document", [b'<?xml version="1.0" encoding="EBCDIC-CP-US"?><a/>', b"<a>\xff\xfe</a>", b"\xff\xfea"]
)
def test_another_encoding_or_wrong_bytes_are_refused(document):
    assert refused(document).code == "standards.malformed"


@pytest.mark.parametrize("document", [b"", b"  ", b"<a>", b"<a></b>", b"<a/><b/>", b"\0", b"{}"])
def test_what_is_not_xml_is_refused(document):
    assert refused(document).code == "standards.malformed"


@pytest.mark.parametrize("name", ["pacs.002.001.99", "pacs.002.002.10", "pacs.008.001.08", "pain.013.001.07"])
def test_an_unknown_message_or_version_is_refused(name):
    document = status().replace("pacs.002.001.10", name).encode()
    assert refused(document).code == "standards.unknown_message"


def test_two_messages_in_one_document_are_refused():
    inner = status().partition("\n")[2]
    assert refused(f"<both>{inner}{inner}</both>".encode()).code == "standards.broken_rule"


@pytest.mark.parametrize(
    ("created", "reason"),
    [
        ("2026-02-29T00:00:00", "no such day"),
        ("2026-13-01T00:00:00", "month"),
        ("2026-01-01T25:00:00", "time"),
        ("2026-01-01T00:00:00+15:00", "zone"),
        ("2026-01-01", "no date with a time"),
    ],
)
def test_an_instant_that_does_not_exist_is_refused(created, reason):
    error = refused(status(created=created).encode())
    assert error.code == "standards.bad_value"
    assert error.fields["path"] == "/Document/FIToFIPmtStsRpt/GrpHdr/CreDtTm"
    assert error.fields["line"] == 3
    assert reason in str(error.fields["reason"])


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        ("1.005", "EUR", "more decimals than EUR"),
        ("1.5", "JPY", "more decimals than JPY"),
        ("-1", "EUR", "without a sign"),
        ("1,5", "EUR", "no amount"),
        ("", "EUR", "no digit"),
        (".", "EUR", "no digit"),
        ("1" * 19, "EUR", "more than 18 digits"),
        ("1.000000", "EUR", "more than 5 decimals"),
        ("999999999999999999", "BHD", "64 bits"),
        ("1", "XAU", "minor unit"),
        ("1", "eur", "minor unit"),
    ],
)
def test_an_amount_that_is_not_exact_is_refused_with_its_place(text, currency, reason):
    reference = f'<OrgnlTxRef><IntrBkSttlmAmt Ccy="{currency}">{text}</IntrBkSttlmAmt></OrgnlTxRef>'
    error = refused(status(more=f"<TxInfAndSts>{reference}</TxInfAndSts>").encode())
    assert error.code == "standards.bad_value"
    assert str(error.fields["path"]).endswith("/TxInfAndSts/OrgnlTxRef/IntrBkSttlmAmt")
    assert reason in str(error.fields["reason"])


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (
            "<TxInfAndSts><OrgnlTxRef><IntrBkSttlmAmt>1</IntrBkSttlmAmt></OrgnlTxRef></TxInfAndSts>",
            "standards.missing",
        ),
        ("<TxInfAndSts><StsId>A</StsId><StsId>B</StsId></TxInfAndSts>", "standards.bad_value"),
        ("<TxInfAndSts><StsId><A/></StsId></TxInfAndSts>", "standards.bad_value"),
        ("<OrgnlGrpInfAndSts><OrgnlMsgId>A</OrgnlMsgId></OrgnlGrpInfAndSts>", "standards.missing"),
        (
            "<OrgnlGrpInfAndSts><OrgnlMsgId>A</OrgnlMsgId><OrgnlMsgNmId>B</OrgnlMsgNmId>"
            "<OrgnlNbOfTxs>1.5</OrgnlNbOfTxs></OrgnlGrpInfAndSts>",
            "standards.bad_value",
        ),
    ],
)
def test_an_element_that_is_missing_repeated_or_wrong_is_refused(more, code):
    assert refused(status(more=more).encode()).code == code


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"end_to_end_id": "x" * 36}, "longer than 35"),
        ({"end_to_end_id": " x"}, "space"),
        ({"end_to_end_id": "a\x01b"}, "character"),
        ({"uetr": "255AE394-9965-4438-AC86-F406FEADA396"}, "UUID"),
        ({"creditor_agent": iso.Agent(bic="BANK")}, "BIC"),
        ({"creditor_account": iso.Account(iban="GB34BUKB20201555555555")}, "check digits"),
        ({"creditor": iso.Party(name="A", address=iso.Address(country="Netherlands"))}, "country"),
        ({"amount": amounts.Amount(1, "EUR", "1.00")}, "minor units"),
    ],
)
def test_an_order_that_the_standard_does_not_allow_is_not_written(change, reason):
    with pytest.raises(GuildbookError) as error:
        iso.write(iso.PAIN_001, order(transfer(**change)))
    assert error.value.code == "standards.bad_value"
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: order(), "an instruction has a payment"),
        (lambda: order(instructions=[]), "an order has an instruction"),
        (lambda: order(transfer(1), transfer(1)), "EndToEndId 'NF-2026-000001' occurs twice"),
        (lambda: order(transfer(text="0.00")), "above zero"),
        (lambda: order(transfer(amount=None)), "above zero"),
        (lambda: order(transfer(creditor=iso.Party())), "names its creditor"),
        (lambda: order(transfer(creditor_account=None)), "creditor's account"),
        (lambda: recall(transactions=[]), "names a payment"),
        (
            lambda: recall(transactions=[iso.CancelledTransaction(reasons=(iso.Reason(code="CUST"),))]),
            "has an id",
        ),
        (lambda: recall(transactions=[iso.CancelledTransaction(original_end_to_end_id="E")]), "has a reason"),
    ],
)
def test_an_order_that_makes_no_sense_is_not_made(make, reason):
    with pytest.raises(GuildbookError) as error:
        make()
    assert error.value.code == "standards.broken_rule"
    assert reason in str(error.value)


def test_a_message_that_is_not_written_is_refused():
    for name in ("pain.001.001.03", "pacs.008.001.08"):
        with pytest.raises(GuildbookError) as error:
            iso.write(name, order(transfer()))
        assert error.value.code == "standards.unknown_message"


def test_an_original_that_an_answer_repeats_is_carried():
    original = OriginalTransaction(
        interbank_amount=iso.read_amount("5.00", "EUR"),
        execution_date=DAY,
        debtor=TREASURY,
        creditor=iso.Party(agent=BANK),
    )
    body = iso.StatusReport("P", MOMENT, transactions=(iso.TransactionStatus(original=original),))
    written = iso.write("pacs.002.001.10", body)
    assert iso.validation_findings(written, schema("pacs.002.001.10")) == ()
    assert iso.read(written).body == body


def test_a_statement_of_ten_thousand_entries_reads_whole():
    entry = statement().entries[0]
    body = iso.AccountReport(HEADER, (statement(balances=BALANCES, entries=(entry,) * 10_000),))
    found = iso.read(iso.write("camt.053.001.08", body)).body
    assert isinstance(found, iso.AccountReport)
    assert len(found.entries) == 10_000
    assert sum(one.signed_minor for one in found.entries) == 1_250_000_000
