"""Statements of banks with a second implementation's reading of them, compared field by field.

The expected readings are dumps of another library's objects: every getter of every object, and a mark where an object
occurs a second time. `Dump` builds the same objects from our records and walks them in the same order, so that the two
are equal in whole or not at all. Where that library reads a thing its own way, the builder says so.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.iso20022 import read
from guildbook.standards.iso20022.components import Account, Address, Agent, Party, StructuredRemittance
from guildbook.standards.iso20022.statements import (
    BankTransactionCode,
    Charges,
    Entry,
    References,
    ReportHeader,
    Statement,
    TransactionDetail,
)
from shared_data import shared

AGAIN = "__RECURSIVITY__"
CASES = (
    "camt052.v1", "camt052.v2.other-account", "camt052.v2.with-account-name", "camt052.v6.Amt-zero", "camt052.v8",
    "camt053.v2.all-balance-types", "camt053.v2.minimal", "camt053.v2.minimal.ultimate",
    "camt053.v2.with-account-name", "camt053.v3", "camt053.v8", "camt054.v2", "camt054.v4",
    "camt054.v8", "camt054.v8-with-UETR", "camt53.only-Dt-with-DtTm",
)  # fmt: skip
RECORD_CLASSES = {
    "camt.052": r"Genkgo\Camt\Camt052\DTO\Report",
    "camt.053": r"Genkgo\Camt\Camt053\DTO\Statement",
    "camt.054": r"Genkgo\Camt\Camt054\DTO\Notification",
}
BALANCE_NAMES = {
    "OPBD": "opening", "PRCD": "opening", "OPAV": "opening_available", "CLBD": "closing",
    "CLAV": "closing_available", "FWAV": "forward_available", "INFO": "information", "ITAV": "interim_available",
    "ITBD": "interim", "XPCD": "expected_credit",
}  # fmt: skip


def dto(name: str, **getters: Any) -> dict[str, Any]:
    """One object of the other library: its class, and what its getters give."""
    return {"__CLASS__": rf"Genkgo\Camt\DTO\{name}", **{f"get{key}": value for key, value in getters.items()}}


def walked(value: Any, seen: set[int]) -> Any:
    """The dump of an object: in the order of getters' names, each object once, then the mark."""
    if isinstance(value, list):
        return [walked(item, seen) for item in value]
    if not isinstance(value, dict):
        return value
    if id(value) in seen:
        return AGAIN
    seen.add(id(value))
    return {key: walked(value[key], seen) for key in sorted(value)}


def money(minor: int, currency: str) -> dict[str, Any]:
    code = {"__CLASS__": r"Money\Currency", "getCode": currency}
    return {"__CLASS__": r"Money\Money", "getAmount": str(minor), "getCurrency": code}


def signed(amount: Any, indicator: str | None) -> dict[str, Any]:
    return money(-amount.minor if indicator == "DBIT" else amount.minor, amount.currency)


def moment(when: Any) -> dict[str, Any] | None:
    if when is None:
        return None
    seconds, rest = divmod(when.utc_ms, 1000)
    assert rest == 0
    days, second = divmod(seconds, 86_400)
    year, month, day = _civil(days)
    text = f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}+00:00"
    return {"__CLASS__": "DateTimeImmutable", "0": text}


def _civil(days: int) -> tuple[int, int, int]:
    from datetime import date

    found = date.fromordinal(days + date(1970, 1, 1).toordinal())
    return found.year, found.month, found.day


class Dump:
    """The other library's objects for one message."""

    def __init__(self, name: str) -> None:
        self.family, self.version = name[:8], int(name[13:])

    def address(self, address: Address | None) -> dict[str, Any] | None:
        if address is None:
            return None
        return dto(
            "Address",
            AddressLines=list(address.lines),
            BuildingNumber=address.building_number,
            Country=address.country,
            CountrySubDivision=address.country_subdivision,
            Department=address.department,
            PostCode=address.post_code,
            StreetName=address.street,
            SubDepartment=address.sub_department,
            TownName=address.town,
        )

    def identification(self, party: Party) -> dict[str, Any] | None:
        schemes = {one.scheme: one.id for one in party.organisation_ids}
        others = [one for one in party.organisation_ids if one.scheme not in ("IBEI", "BEI", "EANGLN")]
        if party.bic is None and not party.organisation_ids:
            return None
        other = others[0] if others else None
        return dto(
            "OrganisationIdentification",
            BankPartyId=None,
            # BICOrBEI of version 2 is given as both; version 1 has an element for each.
            Bei=party.bic if self.version == 2 else schemes.get("BEI"),
            Bic=party.bic,
            ChipsUniversalId=None,
            Duns=None,
            Eangln=schemes.get("EANGLN"),
            Ibei=schemes.get("IBEI"),
            Identification=other.id if other else None,
            Issuer=None,
            OtherId=other.id if other else None,
            OtherIssuer=other.issuer if other else None,
            OtherSchemeName=other.scheme if other else None,
            OtherType=None,
            TaxId=None,
        )

    def header(self, header: ReportHeader) -> dict[str, Any]:
        recipient = header.recipient
        getters: dict[str, Any] = {
            "AdditionalInformation": header.additional,
            "CreatedOn": moment(header.created),
            "MessageId": header.message_id,
            "MessageRecipient": recipient
            and dto(
                "Recipient",
                Address=self.address(recipient.address),
                ContactDetails=recipient.contact_name,
                CountryOfResidence=recipient.country_of_residence,
                Identification=self.identification(recipient),
                Name=recipient.name,
            ),
            "Pagination": header.page and dto("Pagination", PageNumber=header.page),
        }
        if self.family == "camt.054" and self.version >= 4:
            getters["OriginalBusinessQuery"] = header.query_id and {
                "__CLASS__": r"Genkgo\Camt\Camt054\DTO\V04\OriginalBusinessQuery",
                "getCreatedOn": moment(header.query_created),
                "getMessageId": header.query_id,
                "getMessageNameId": header.query_name,
            }
            found = dto("GroupHeader", **getters)
            found["__CLASS__"] = r"Genkgo\Camt\Camt054\DTO\V04\GroupHeader"
            return found
        return dto("GroupHeader", **getters)

    def account(self, account: Account | None) -> dict[str, Any] | None:
        if account is None:
            return None
        if account.iban is not None:
            iban = {"__CLASS__": r"Genkgo\Camt\Iban", "getIban": account.iban}
            return dto("IbanAccount", Iban=iban, Identification=account.iban, Name=account.name)
        assert account.other is not None
        if self.version == 1:
            return dto("ProprietaryAccount", Id=account.other.id, Identification=account.other.id)
        return dto(
            "OtherAccount",
            Identification=account.other.id,
            Issuer=account.other.issuer,
            SchemeName=account.other.scheme,
        )

    def code(self, code: BankTransactionCode | None) -> dict[str, Any]:
        code = code or BankTransactionCode()
        family = dto("DomainFamilyBankTransactionCode", Code=code.family, SubFamilyCode=code.sub_family)
        return dto(
            "BankTransactionCode",
            Domain=code.domain and dto("DomainBankTransactionCode", Code=code.domain, Family=family),
            Proprietary=code.proprietary
            and dto(
                "ProprietaryBankTransactionCode", Code=code.proprietary, Issuer=code.proprietary_issuer or ""
            ),
        )

    def charges(self, charges: tuple[Charges, ...]) -> dict[str, Any] | None:
        if not charges:
            return None
        (one,) = charges
        records = [
            dto(
                "ChargesRecord",
                Amount=signed(record.amount, record.indicator),
                ChargesIncludedIndicator=record.included,
                Identification=record.type_proprietary,
            )
            for record in one.records
        ]
        return dto(
            "Charges",
            Record=records[0] if records else None,
            Records=records,
            TotalChargesAndTaxAmount=one.total and money(one.total.minor, one.total.currency),
        )

    def reference(self, references: References | None) -> dict[str, Any] | None:
        if references is None:
            return None
        return dto(
            "Reference",
            AccountOwnerTransactionId=references.owner_transaction_id,
            AccountServicerReference=references.servicer_reference,
            AccountServicerTransactionId=references.servicer_transaction_id,
            ChequeNumber=references.cheque_number,
            ClearingSystemReference=references.clearing_reference,
            EndToEndId=references.end_to_end_id,
            InstructionId=references.instruction_id,
            MandateId=references.mandate_id,
            MarketInfrastructureTransactionId=references.market_transaction_id,
            MessageId=references.message_id,
            PaymentInformationId=references.payment_information_id,
            ProcessingId=references.processing_id,
            Proprietaries=[
                dto("ProprietaryReference", Reference=one.reference, Type=one.type)
                for one in references.proprietaries
            ],
            TransactionId=references.transaction_id,
            UuidEndToEndReference=references.uetr,
        )

    def parties(self, detail: TransactionDetail) -> list[dict[str, Any]]:
        found = []
        for name, party, account in (
            ("Creditor", detail.creditor, detail.creditor_account),
            ("UltimateCreditor", detail.ultimate_creditor, None),
            ("Debtor", detail.debtor, detail.debtor_account),
            ("UltimateDebtor", detail.ultimate_debtor, None),
        ):
            if party is not None:
                kind = dto(
                    name,
                    Address=self.address(party.address),
                    Identification=self.identification(party),
                    Name=party.name,
                )
                found.append(dto("RelatedParty", Account=self.account(account), RelatedPartyType=kind))
        return found

    def agents(self, detail: TransactionDetail) -> list[dict[str, Any]]:
        def kind(name: str, agent: Agent) -> dict[str, Any]:
            return dto("RelatedAgent", RelatedAgentType=dto(name, BIC=agent.bic or "", Name=agent.name or ""))

        found = []
        if detail.creditor_agent is not None:
            found.append(kind("CreditorAgent", detail.creditor_agent))
        if detail.debtor_agent is not None:
            found.append(kind("DebtorAgent", detail.debtor_agent))
        return found

    def structured(self, block: StructuredRemittance) -> dict[str, Any]:
        information = block.reference and dto(
            "CreditorReferenceInformation",
            Code=block.reference_code,
            Proprietary=block.reference_proprietary,
            Ref=block.reference,
        )
        return dto(
            "StructuredRemittanceInformation",
            AdditionalRemittanceInformation=block.additional[0] if block.additional else None,
            CreditorReferenceInformation=information,
        )

    def remittance(self, detail: TransactionDetail) -> dict[str, Any] | None:
        remittance = detail.remittance
        if remittance is None:
            return None
        texts = [dto("UnstructuredRemittanceInformation", Message=text) for text in remittance.unstructured]
        blocks = [self.structured(block) for block in remittance.structured]
        # The message is the first text; the first reference stands for it only where there is no text.
        information = None if texts or not blocks else blocks[0]["getCreditorReferenceInformation"]
        return dto(
            "RemittanceInformation",
            CreditorReferenceInformation=information,
            Message=texts[0]["getMessage"] if texts else information and information["getRef"],
            StructuredBlock=blocks[0] if blocks else None,
            StructuredBlocks=blocks,
            UnstructuredBlock=texts[0] if texts else None,
            UnstructuredBlocks=texts,
        )

    def detail(self, detail: TransactionDetail, entry: Entry) -> dict[str, Any]:
        agents, parties = self.agents(detail), self.parties(detail)
        assert detail.dates is None
        assert detail.return_information is None
        return dto(
            "EntryTransactionDetail",
            AdditionalTransactionInformation=detail.additional,
            # That library gives a transaction the sign of its entry; the file's own indicator is ours.
            Amount=detail.amount and signed(detail.amount, entry.indicator),
            AmountDetails=detail.transaction and signed(detail.transaction.amount, entry.indicator),
            BankTransactionCode=self.code(detail.code),
            Charges=self.charges(detail.charges),
            CreditDebitIndicator=entry.indicator,
            Reference=self.reference(detail.references),
            RelatedAgent=agents[0] if agents else None,
            RelatedAgents=agents,
            RelatedDates=None,
            RelatedParties=parties,
            RelatedParty=parties[0] if parties else None,
            RemittanceInformation=self.remittance(detail),
            ReturnInformation=None,
        )

    def entry(self, entry: Entry, index: int, record: dict[str, Any]) -> dict[str, Any]:
        details = [self.detail(detail, entry) for detail in entry.transactions]
        # A batch of version 1 stands where that library does not look.
        batches = [] if self.version == 1 else [one.batch for one in entry.details if one.batch]
        return dto(
            "Entry",
            AccountServicerReference=entry.servicer_reference,
            AdditionalInfo=entry.additional or "",
            Amount=signed(entry.amount, entry.indicator),
            BankTransactionCode=self.code(entry.code),
            BatchPaymentId=batches[0].payment_information_id if batches else None,
            BookingDate=moment(entry.booked),
            Charges=self.charges(entry.charges),
            CreditDebitIndicator=entry.indicator,
            Index=index,
            Record=record,
            Reference=entry.reference,
            ReversalIndicator=bool(entry.reversal),
            Status=entry.status,
            TransactionDetail=details[0] if details else None,
            TransactionDetails=details,
            ValueDate=moment(entry.value),
        )

    def record(self, statement: Statement) -> dict[str, Any]:
        record = dto(
            "",
            Account=self.account(statement.account),
            AdditionalInformation=statement.additional,
            CopyDuplicateIndicator=statement.copy_duplicate,
            CreatedOn=moment(statement.created),
            ElectronicSequenceNumber=statement.electronic_sequence,
            Entries=[],
            FromDate=moment(statement.from_),
            Id=statement.id,
            LegalSequenceNumber=statement.legal_sequence,
            Pagination=statement.page and dto("Pagination", PageNumber=statement.page),
            ToDate=moment(statement.to),
        )
        record["__CLASS__"] = RECORD_CLASSES[self.family]
        if self.family != "camt.054":
            record["getBalances"] = [
                dto(
                    "Balance",
                    Amount=signed(balance.amount, balance.indicator),
                    Date=moment(balance.date),
                    Type=BALANCE_NAMES[balance.type or ""],
                )
                for balance in statement.balances
            ]
        record["getEntries"] += [
            self.entry(entry, index, record) for index, entry in enumerate(statement.entries)
        ]
        return record


@pytest.mark.parametrize("case", CASES)
def test_a_statement_reads_as_the_other_implementation_reads_it(case):
    folder = shared("payments/iso20022-camt")
    message = read((folder / f"{case}.xml").read_bytes(), file=case)
    dump = Dump(message.name)
    records = [dump.record(statement) for statement in message.body.statements]
    whole = dto(
        "Message",
        Entries=[entry for record in records for entry in record["getEntries"]],
        GroupHeader=dump.header(message.body.header),
        Records=records,
    )
    assert walked(whole, set()) == json.loads((folder / f"{case}.json").read_bytes())


def test_every_expected_reading_of_the_folder_is_compared():
    folder = shared("payments/iso20022-camt")
    assert {path.stem for path in folder.glob("*.json")} == set(CASES)


def test_a_statement_without_a_statement_is_refused_with_its_place():
    folder = shared("payments/iso20022-camt")
    with pytest.raises(GuildbookError) as refused:
        read((folder / "camt053.v2.wrong.xml").read_bytes(), file="camt053.v2.wrong.xml")
    assert refused.value.code == "standards.missing"
    assert refused.value.fields["file"] == "camt053.v2.wrong.xml"
    assert refused.value.fields["path"] == "/Document/BkToCstmrStmt/Stmt"
    assert refused.value.fields["line"] == 3
