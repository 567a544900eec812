"""ISO 20022: messages about payments, read to records and written from them.

`read` takes the bytes that a bank sent and gives a `Message`. `write` gives the bytes of an order;
`payment_initiation` and `cancellation_request` complete one. `codes` says what statuses and reasons mean, and
`statuses` which status counts for which transaction.
"""

from guildbook.standards.amounts import Amount, amount, amount_text, read_amount
from guildbook.standards.iso20022.cancellation import (
    CancellationRequest,
    CancelledTransaction,
    Case,
    Resolution,
)
from guildbook.standards.iso20022.components import (
    Account,
    Address,
    Agent,
    OriginalGroup,
    OtherId,
    Party,
    PaymentType,
    Reason,
    ReferredDocument,
    Remittance,
    StructuredRemittance,
)
from guildbook.standards.iso20022.header import BusinessHeader
from guildbook.standards.iso20022.payments import (
    CreditTransfer,
    InterbankPayments,
    InterbankTransfer,
    PaymentInitiation,
    PaymentInstruction,
    PaymentReturn,
    ReturnedTransfer,
)
from guildbook.standards.iso20022.reading import KINDS, Body, Message, read
from guildbook.standards.iso20022.statements import (
    AccountReport,
    Balance,
    Entry,
    Statement,
    TransactionDetail,
)
from guildbook.standards.iso20022.status import ResolvedStatus, StatusReport, TransactionStatus, statuses
from guildbook.standards.iso20022.writing import (
    CAMT_056,
    PAIN_001,
    WRITTEN,
    cancellation_request,
    control_sum,
    payment_initiation,
    uetr_of,
    write,
)
from guildbook.standards.times import When, date_at, date_time_at, read_date, read_date_time
from guildbook.standards.xml import validation_findings

__all__ = [
    "CAMT_056",
    "KINDS",
    "PAIN_001",
    "WRITTEN",
    "Account",
    "AccountReport",
    "Address",
    "Agent",
    "Amount",
    "Balance",
    "Body",
    "BusinessHeader",
    "CancellationRequest",
    "CancelledTransaction",
    "Case",
    "CreditTransfer",
    "Entry",
    "InterbankPayments",
    "InterbankTransfer",
    "Message",
    "OriginalGroup",
    "OtherId",
    "Party",
    "PaymentInitiation",
    "PaymentInstruction",
    "PaymentReturn",
    "PaymentType",
    "Reason",
    "ReferredDocument",
    "Remittance",
    "Resolution",
    "ResolvedStatus",
    "ReturnedTransfer",
    "Statement",
    "StatusReport",
    "StructuredRemittance",
    "TransactionDetail",
    "TransactionStatus",
    "When",
    "amount",
    "amount_text",
    "cancellation_request",
    "control_sum",
    "date_at",
    "date_time_at",
    "payment_initiation",
    "read",
    "read_amount",
    "read_date",
    "read_date_time",
    "statuses",
    "uetr_of",
    "validation_findings",
    "write",
]
