"""Which keys sign blocks, as rows.

The rows are written by the foundation contract ``governance``, and by the platform where a validator has misbehaved;
``guildbook.chain.validators`` turns their differences into the next validator set.
"""

from guildbook.state.record import Code, Height, Positive, PublicKeyBytes, Record, key
from guildbook.state.schema import TableSchema

VALIDATORS_MAX = 128
"""Validators of a network: all of them vote on every block."""


class Validator(Record):
    """A key that signs blocks with a voting power, and the member that runs it."""

    public_key: PublicKeyBytes = key()
    power: Positive
    organisation: Code
    since: Height


VALIDATORS = TableSchema("governance.validators", Validator)
