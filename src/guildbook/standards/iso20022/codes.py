"""What the codes in messages say: statuses, reasons, balance types; as data, with where they come from.

Source: ISO 20022 External Code Sets (ExternalPaymentTransactionStatus1Code, ExternalPaymentGroupStatus1Code,
ExternalStatusReason1Code, ExternalReturnReason1Code, ExternalCancellationReason1Code,
ExternalPaymentCancellationRejection1Code, ExternalInvestigationExecutionConfirmation1Code,
ExternalEntryStatus1Code, ExternalBalanceType1Code) and the message definition reports of pain.002, pacs.002 and
camt.029. The names are the standard's own, also where it misspells; outcome and kind are ours. The tables hold
what banks use most, not every code, and the sets grow: an unknown code is carried as it is.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Outcome(enum.StrEnum):
    """What a status means for the one who ordered."""

    WAITING = "waiting"
    """Taken or being looked at; nothing is final."""
    PARTLY = "partly"
    """Some of it was refused: the levels below say which."""
    SETTLED = "settled"
    """Money has moved on the debtor's side, or on the creditor's."""
    REFUSED = "refused"
    """It will not be done."""


class Kind(enum.StrEnum):
    """What a reason is about, and so who can help."""

    ACCOUNT = "account"
    AGENT = "agent"
    AMOUNT = "amount"
    FUNDS = "funds"
    DUPLICATE = "duplicate"
    PARTY = "party"
    FORMAT = "format"
    REGULATORY = "regulatory"
    MANDATE = "mandate"
    TIME = "time"
    CUSTOMER = "customer"
    FRAUD = "fraud"
    TECHNICAL = "technical"
    OTHER = "other"


class StatusMeaning(msgspec.Struct, frozen=True):
    """A status code: its name in the standard, and the outcome."""

    code: str
    name: str
    outcome: Outcome


class ReasonMeaning(msgspec.Struct, frozen=True):
    """A reason code: its name in the standard, and what it is about."""

    code: str
    name: str
    kind: Kind


_STATUSES: Final = """
RCVD waiting Received
PDNG waiting Pending
ACTC waiting AcceptedTechnicalValidation
PATC waiting PartiallyAcceptedTechnicalCorrect
ACCP waiting AcceptedCustomerProfile
ACFC waiting AcceptedFundsChecked
ACWC waiting AcceptedWithChange
ACSP waiting AcceptedSettlementInProcess
ACWP waiting AcceptedWithoutPosting
PRES waiting Presented
ACSC settled AcceptedSettlementCompletedDebitorAccount
ACCC settled AcceptedSettlementCompletedCreditorAccount
PART partly PartiallyAccepted
RJCT refused Rejected
CANC refused Cancelled
BLCK refused Blocked
"""

_REASONS: Final = """
AB05 time TimeoutCreditorAgent
AB06 time TimeoutInstructedAgent
AB07 agent OfflineAgent
AB08 agent OfflineCreditorAgent
AB09 technical ErrorCreditorAgent
AB10 technical ErrorInstructedAgent
AC01 account IncorrectAccountNumber
AC02 account InvalidDebtorAccountNumber
AC03 account InvalidCreditorAccountNumber
AC04 account ClosedAccountNumber
AC05 account ClosedDebtorAccountNumber
AC06 account BlockedAccount
AC07 account ClosedCreditorAccountNumber
AC08 agent InvalidBranchCode
AC09 account InvalidAccountCurrency
AC10 account InvalidDebtorAccountCurrency
AC11 account InvalidCreditorAccountCurrency
AC12 account InvalidAccountType
AC13 account InvalidDebtorAccountType
AC14 account InvalidCreditorAccountType
AC15 account AccountDetailsChanged
AC16 account CardNumberInvalid
AG01 account TransactionForbidden
AG02 format InvalidBankOperationCode
AG03 format TransactionNotSupported
AG04 agent InvalidAgentCountry
AG05 agent InvalidDebtorAgentCountry
AG06 agent InvalidCreditorAgentCountry
AG07 mandate UnsuccesfulDirectDebit
AG08 customer InvalidAccessRights
AG09 other PaymentNotReceived
AG10 agent AgentSuspended
AG11 agent CreditorAgentSuspended
AGNT agent IncorrectAgent
AM01 amount ZeroAmount
AM02 amount NotAllowedAmount
AM03 amount NotAllowedCurrency
AM04 funds InsufficientFunds
AM05 duplicate Duplication
AM06 amount TooLowAmount
AM07 funds BlockedAmount
AM09 amount WrongAmount
AM10 amount InvalidControlSum
AM11 amount InvalidTransactionCurrency
AM12 amount InvalidAmount
AM13 amount AmountExceedsClearingSystemLimit
AM14 amount AmountExceedsAgreedLimit
AM15 amount AmountBelowClearingSystemMinimum
AM16 amount InvalidGroupControlSum
AM17 amount InvalidPaymentInfoControlSum
AM18 format InvalidNumberOfTransactions
AM19 format InvalidGroupNumberOfTransactions
AM20 format InvalidPaymentInfoNumberOfTransactions
AM21 amount LimitExceeded
AM23 amount AmountExceedsSettlementLimit
ARDT other AlreadyReturned
BE01 party InconsistenWithEndCustomer
BE04 party MissingCreditorAddress
BE05 party UnrecognisedInitiatingParty
BE06 party UnknownEndCustomer
BE07 party MissingDebtorAddress
BE08 party MissingDebtorName
BE09 party InvalidCountry
BE10 party InvalidDebtorCountry
BE11 party InvalidCreditorCountry
BE12 party InvalidCountryOfResidence
BE13 party InvalidDebtorCountryOfResidence
BE14 party InvalidCreditorCountryOfResidence
BE15 party InvalidIdentificationCode
BE16 party InvalidDebtorIdentificationCode
BE17 party InvalidCreditorIdentificationCode
BE18 party InvalidContactDetails
BE19 format InvalidChargeBearerCode
BE20 party InvalidNameLength
BE21 party MissingName
BE22 party MissingCreditorName
CH03 time RequestedExecutionDateOrRequestedCollectionDateTooFarInFuture
CH04 time RequestedExecutionDateOrRequestedCollectionDateTooFarInPast
CH11 party CreditorIdentifierIncorrect
CH16 format ElementContentFormallyIncorrect
CH17 format ElementNotAdmissible
CH21 format RequiredCompulsoryElementMissing
CNOR agent CreditorBankIsNotRegistered
CURR amount IncorrectCurrency
CUST customer RequestedByCustomer
CUTA customer CancelUponUnableToApply
DNOR agent DebtorBankIsNotRegistered
DS02 customer OrderRejected
DS04 customer OrderRejected
DS24 time WaitingTimeExpired
DT01 time InvalidDate
DT02 time InvalidCreationDate
DT03 time InvalidNonProcessingDate
DT04 time FutureDateNotSupported
DU01 duplicate DuplicateMessageID
DU02 duplicate DuplicatePaymentInformationID
DU03 duplicate DuplicateTransaction
DU04 duplicate DuplicateEndToEndID
DU05 duplicate DuplicateInstructionID
DUPL duplicate DuplicatePayment
ED01 agent CorrespondentBankNotPossible
ED03 other BalanceInfoRequest
ED05 technical SettlementFailed
ED06 technical SettlementSystemNotAvailable
ERIN format ERIOptionNotSupported
FF01 format InvalidFileFormat
FF02 format SyntaxError
FF03 format InvalidPaymentTypeInformation
FF04 format InvalidServiceLevelCode
FF05 format InvalidLocalInstrumentCode
FF06 format InvalidCategoryPurposeCode
FF07 format InvalidPurpose
FF08 format InvalidEndToEndId
FF10 technical BankSystemProcessingError
FF11 technical ClearingRequestAborted
FOCR customer FollowingCancellationRequest
FR01 fraud Fraud
FRAD fraud FraudulentOrigin
LEGL regulatory LegalDecision
MD01 mandate NoMandate
MD02 mandate MissingMandatoryInformationInMandate
MD05 mandate CollectionNotDue
MD06 mandate RefundRequestByEndCustomer
MD07 party EndCustomerDeceased
MS02 customer NotSpecifiedReasonCustomerGenerated
MS03 other NotSpecifiedReasonAgentGenerated
NARR other Narrative
NOAS customer NoAnswerFromCustomer
NOOR other NoOriginalTransactionReceived
PY01 agent UnknownBICInRoutingTable
RC01 agent BankIdentifierIncorrect
RC03 agent InvalidDebtorBankIdentifier
RC04 agent InvalidCreditorBankIdentifier
RC05 agent InvalidBICIdentifier
RC06 agent InvalidDebtorBICIdentifier
RC07 agent InvalidCreditorBICIdentifier
RC08 agent InvalidClearingSystemMemberIdentifier
RC09 agent InvalidDebtorClearingSystemMemberIdentifier
RC10 agent InvalidCreditorClearingSystemMemberIdentifier
RF01 duplicate NotUniqueTransactionReference
RR01 regulatory MissingDebtorAccountOrIdentification
RR02 regulatory MissingDebtorNameOrAddress
RR03 regulatory MissingCreditorNameOrAddress
RR04 regulatory RegulatoryReason
RR05 regulatory RegulatoryInformationInvalid
RR06 regulatory TaxInformationInvalid
RR07 format RemittanceInformationInvalid
RR08 format RemittanceInformationTruncated
RR09 format InvalidStructuredCreditorReference
RR10 format InvalidCharacterSet
RR11 format InvalidDebtorAgentServiceID
RR12 party InvalidPartyID
RUTA customer ReturnUponUnableToApply
SL01 agent SpecificServiceOfferedByDebtorAgent
SL02 agent SpecificServiceOfferedByCreditorAgent
SL11 agent CreditorNotOnWhitelistOfDebtor
SL12 agent CreditorOnBlacklistOfDebtor
SYAD technical RequestedBySystemAdministrator
TA01 technical TransmissonAborted
TD01 technical NoDataAvailable
TD02 technical FileNonReadable
TD03 format IncorrectFileStructure
TECH technical TechnicalProblem
TK01 technical TokenInvalid
TM01 time InvalidCutOffTime
TS01 technical TransmissionSuccessful
UPAY customer UnduePayment
"""

ENTRY_STATUSES: Final = {"BOOK": "Booked", "PDNG": "Pending", "INFO": "Information", "FUTR": "Future"}

BALANCE_TYPES: Final = {
    "CLAV": "ClosingAvailable",
    "CLBD": "ClosingBooked",
    "FWAV": "ForwardAvailable",
    "INFO": "Information",
    "ITAV": "InterimAvailable",
    "ITBD": "InterimBooked",
    "OPAV": "OpeningAvailable",
    "OPBD": "OpeningBooked",
    "PRCD": "PreviouslyClosedBooked",
    "XPCD": "Expected",
}

CANCELLATION_ANSWERS: Final = {
    "CNCL": "CancelledAsPerRequest",
    "CNCR": "CancelledIndividually",
    "RJCR": "RejectedCancellationRequest",
    "PDCR": "PendingCancellationRequest",
    "PACR": "PartiallyAcceptedCancellationRequest",
    "UWFW": "UnableToApplyWillFollow",
    "IPAY": "PaymentInitiated",
    "ICOV": "CoverInitiated",
    "MODI": "ModifiedAsPerRequest",
    "INFO": "AdditionalInformationSent",
    "CONF": "ConfirmationOfPayment",
    "CWFW": "CancellationWillFollow",
    "MWFW": "ModificationWillFollow",
}


def _rows(text: str) -> list[tuple[str, str, str]]:
    return [(code, kind, name) for code, kind, name in (line.split() for line in text.split("\n") if line)]


STATUSES: Final = {
    code: StatusMeaning(code, name, Outcome(outcome)) for code, outcome, name in _rows(_STATUSES)
}
REASONS: Final = {code: ReasonMeaning(code, name, Kind(kind)) for code, kind, name in _rows(_REASONS)}


def outcome_of(status: str | None) -> Outcome | None:
    """What a status means; `None` for no status and for a code that the table does not know."""
    known = STATUSES.get(status or "")
    return known.outcome if known else None
