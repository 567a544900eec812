"""Validator sets: what a block's differences make of the next one.

Theory. The contract ``governance`` keeps one row for each validator. What a block of height H changes in that table
is its *validator updates*; as in CometBFT they are announced by header H + 1 and sign from H + 2 on, in both engines.
So the rows after block H are the set of height H + 2, and a set is stored under the height from which it holds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter

from guildbook.primitives.cometbft import Validator as SetMember
from guildbook.primitives.cometbft import ValidatorSet
from guildbook.primitives.ordered import prefix_end
from guildbook.runtime.validators import VALIDATORS
from guildbook.state.overlay import RowDifference

ACTIVE_AFTER_BLOCKS = 2
"""Updates of block H are in the set that signs block H + 2."""

Updates = tuple[tuple[bytes, int], ...]
"""(public key with its algorithm byte, new power; 0 removes), in key order, each a real difference."""


def validator_updates(differences: Sequence[RowDifference]) -> Updates:
    """The updates among a block's ``differences``, which are in key order."""
    prefix = VALIDATORS.row_prefix
    first = bisect_left(differences, prefix, key=attrgetter("key"))
    if first == len(differences) or not differences[first].key.startswith(prefix):
        return ()
    end = bisect_left(differences, prefix_end(prefix) or b"", lo=first, key=attrgetter("key"))
    changed = {}
    for one in differences[first:end]:
        row = one.after if one.after is not None else one.before
        power = one.after.power if one.after is not None else 0
        if one.before is None or one.before.power != power:
            changed[row.public_key] = power
    return tuple(sorted(changed.items()))


def next_validators(current: ValidatorSet, updates: Iterable[tuple[bytes, int]]) -> ValidatorSet:
    """The set after ``updates``. AssertionError where it would be empty or is told to remove a stranger."""
    powers = {one.public_key: one.power for one in current.validators}
    for public_key, power in updates:
        if power:
            powers[public_key] = power
        else:
            assert public_key in powers, f"the unknown validator {public_key.hex()} is to be removed"
            del powers[public_key]
    assert powers, "a block would leave no validators"
    return ValidatorSet.of(SetMember(public_key, power) for public_key, power in powers.items())
