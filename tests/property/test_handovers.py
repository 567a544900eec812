"""Evidence over changes of validators: it verifies from the first set and from a later one, by the fewest handovers."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from guildbook.evidence.build import descent, receipt_evidence
from guildbook.evidence.trust import Trust, TrustedSet
from guildbook.evidence.verify import verify
from guildbook.primitives.cometbft import validator_set_hash
from simulated_chain import NETWORK, validator_set
from simulated_ledger import SimulatedLedger

SETS = ({1: 10}, {1: 10, 2: 10}, {2: 10, 3: 5}, {3: 1, 4: 1, 5: 1})
schedules = st.lists(st.integers(0, len(SETS) - 1), min_size=3, max_size=7)


def ledger_of(schedule: list[int]) -> SimulatedLedger:
    """A ledger whose block h is signed by the set that the schedule names for it; a lot in each block but the last."""
    ledger = SimulatedLedger(SETS[schedule[0]])
    for number, following in enumerate([*schedule[1:], schedule[-1]]):
        ledger.add_block([number], next_powers=SETS[following])
    ledger.add_block()
    return ledger


def fewest(ledger: SimulatedLedger, height: int, believed) -> int | None:
    """The least number of handovers that lead to the set of `height`, by trying all choices; None where none does."""
    heights = list(ledger.handover_heights(height))

    def hash_at(at: int) -> bytes:
        return validator_set_hash(ledger.validators(at))

    for count in range(len(heights) + 1):
        for chosen in combinations(heights, count):
            known: bytes | None = None
            for at in chosen:
                fits = hash_at(at) == known or believed(hash_at(at), at)
                known = hash_at(at + 1) if fits else None
            if hash_at(height) == known or believed(hash_at(height), height):
                return count
    return None


@settings(max_examples=25)
@given(schedules)
def test_each_receipt_is_proven_from_the_first_set_by_the_fewest_handovers(schedule):
    ledger = ledger_of(schedule)
    first = validator_set_hash(ledger.validators(1))
    for transaction in ledger.transactions():
        verdict = verify(receipt_evidence(ledger, transaction), ledger.trust())
        place = ledger.place(transaction)
        assert place is not None
        heights = ledger.handover_heights(place.height + 1)
        until = heights[0] if heights else place.height + 1
        count = fewest(ledger, place.height + 1, lambda one, at, end=until: one == first and at <= end)
        assert verdict.handovers == count
        ended = Trust(NETWORK, (TrustedSet(ledger.validators(1), 1, until),))
        assert verify(receipt_evidence(ledger, transaction), ended) == verdict


@settings(max_examples=25)
@given(schedules, st.integers(0, len(SETS) - 1), st.integers(1, 8), st.none() | st.integers(0, 4))
def test_a_readers_own_anchor_shortens_the_way(schedule, number, first, lasting):
    ledger = ledger_of(schedule)
    last = None if lasting is None else first + lasting
    trust = Trust(NETWORK, (TrustedSet(validator_set(SETS[number]), first, last),))
    for transaction in ledger.transactions():
        place = ledger.place(transaction)
        assert place is not None
        height = place.height + 1
        count = fewest(ledger, height, trust.believes)
        if count is None:
            assert descent(ledger, height, trust) == tuple(ledger.handover_heights(height))
        else:
            verdict = verify(receipt_evidence(ledger, transaction, trust=trust), trust)
            assert verdict.handovers == count


def test_a_set_that_returns_needs_no_detour():
    ledger = ledger_of([0, 1, 2, 1, 2, 1, 3])
    assert len(ledger.handover_heights(7)) == 6
    assert len(descent(ledger, 7)) == 2
    assert len(descent(ledger, 6)) == 1
