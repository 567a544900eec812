"""What an author of a contract imports: this module and the foundation contracts, and nothing else."""

from guildbook.contract.arithmetic import Rounding, allocate, fits_int64, mul_div
from guildbook.contract.bitemporal import is_history, timeline, true_of
from guildbook.contract.check_digits import (
    is_bic,
    is_container_number,
    is_iban,
    is_lei,
    is_ship_number,
    is_uscc,
)
from guildbook.contract.contract import Contract, command, invariant, migration, query, use
from guildbook.contract.dates import add_months, day_number, days_in_month, weekday, year_month_day
from guildbook.contract.digest import digest_of
from guildbook.contract.keys import is_acceptable_key, is_witness_key, proves_possession
from guildbook.contract.rejected import Rejected, require
from guildbook.contract.table import Table
from guildbook.primitives.hashing import sha256
from guildbook.state.record import (
    INT64_MAX,
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
    "INT64_MAX",
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
    "Rounding",
    "SourceText",
    "Table",
    "Text",
    "Timestamp",
    "add_months",
    "allocate",
    "command",
    "day_number",
    "days_in_month",
    "digest_of",
    "fits_int64",
    "invariant",
    "is_acceptable_key",
    "is_bic",
    "is_container_number",
    "is_history",
    "is_iban",
    "is_lei",
    "is_ship_number",
    "is_uscc",
    "is_witness_key",
    "key",
    "migration",
    "mul_div",
    "proves_possession",
    "query",
    "require",
    "sha256",
    "timeline",
    "true_of",
    "use",
    "weekday",
    "year_month_day",
]
