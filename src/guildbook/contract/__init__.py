"""What an author of a contract imports: this module and the foundation contracts, and nothing else."""

from guildbook.contract.contract import Contract, command, invariant, migration, query, use
from guildbook.contract.rejected import Rejected, require
from guildbook.contract.table import Table
from guildbook.state.record import (
    Amount,
    Blob,
    Code,
    Digest,
    Event,
    Height,
    Int,
    Name,
    NonNegative,
    Positive,
    PublicKeyBytes,
    Record,
    SourceText,
    Text,
    Timestamp,
    key,
)

__all__ = [
    "Amount",
    "Blob",
    "Code",
    "Contract",
    "Digest",
    "Event",
    "Height",
    "Int",
    "Name",
    "NonNegative",
    "Positive",
    "PublicKeyBytes",
    "Record",
    "Rejected",
    "SourceText",
    "Table",
    "Text",
    "Timestamp",
    "command",
    "invariant",
    "key",
    "migration",
    "query",
    "require",
    "use",
]
