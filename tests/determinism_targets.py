"""Functions that tests run in other interpreters; some of them depend on what they must not."""

import os

from guildbook.testing import TestLedger
from sample_contract import Units

ACTORS = {"mint/till": ["units:issuer"], "market/anna": []}


def steady() -> TestLedger:
    """The same in every interpreter."""
    ledger = TestLedger(Units, actors=ACTORS)
    for number in range(6):
        with ledger.block():
            for name in ("x", "y", "z"):
                ledger.actor("mint/till").units.issue(to=name, units=number + 1)
    return ledger


def hashing() -> TestLedger:
    """Lets the hash of a text, which differs from interpreter to interpreter, decide an amount in block 4."""
    ledger = TestLedger(Units, actors=ACTORS)
    for number in range(6):
        with ledger.block():
            ledger.actor("mint/till").units.issue(to="x", units=5)
            amount = 1 + hash("units") % 1_000_000 if number == 3 else 7
            ledger.actor("mint/till").units.issue(to="y", units=amount)
    return ledger


def shorter() -> TestLedger:
    """Makes fewer blocks in one of the interpreters."""
    ledger = TestLedger(Units, actors=ACTORS)
    for _number in range(3 if os.environ["PYTHONHASHSEED"] == "1" else 5):
        ledger.cut([])
    return ledger


def failing() -> TestLedger:
    """Fails."""
    raise RuntimeError("the workload is broken")
