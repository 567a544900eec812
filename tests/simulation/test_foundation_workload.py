"""Seeded workloads over documents, messages and consents: the auditor's books agree, and a seed gives one state."""

import pytest

from foundation_workload import run

BLOCKS = 110


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_auditor_of_receipts_agrees_with_the_rows(seed):
    ledger, auditor = run(seed, BLOCKS)
    auditor.compare(ledger)
    assert auditor.applied > BLOCKS
    reached = {code.partition(".")[0] for code in auditor.refused}
    assert {"documents", "messages", "consents"} <= reached, auditor.refused
    assert auditor.taken
    assert auditor.reads
    assert auditor.sent


def test_the_same_seed_gives_the_same_state():
    first, _books = run(7, 40)
    second, _books = run(7, 40)
    assert first.ledger.head == second.ledger.head


def test_the_auditor_is_not_blind():
    ledger, auditor = run(1, BLOCKS)
    number = next(iter(auditor.taken))
    auditor.taken[number][1] += 1
    with pytest.raises(AssertionError):
        auditor.compare(ledger)
