"""Whose signatures make a block final, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guildbook.primitives import cometbft as comet
from simulated_chain import (
    BLOCK_INTERVAL_NS,
    FIRST_TIME_NS,
    NETWORK,
    SimulatedChain,
    resigned,
    sign_commit,
    signing_key,
    validator_set,
)

FOUR = {1: 10, 2: 10, 3: 10, 4: 10}
BLOCK = comet.BlockID(b"\x01" * 32, comet.PartSetHeader(1, b"\x02" * 32))
TIME_NS = FIRST_TIME_NS


def verify(commit: comet.Commit, powers: dict[int, int] = FOUR, network: str = NETWORK) -> int:
    return comet.verify_commit(network, validator_set(powers), 7, BLOCK, commit)


def changed_place(commit: comet.Commit, place: int, **changes: object) -> comet.Commit:
    places = list(commit.signatures)
    places[place] = replace(places[place], **changes)  # type: ignore[arg-type]
    return replace(commit, signatures=tuple(places))


def test_three_of_four_equal_validators_are_enough() -> None:
    assert verify(sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, absent=[2])) == 30


def test_exactly_two_thirds_of_the_power_are_not_enough() -> None:
    powers = {1: 1, 2: 1, 3: 1}
    with pytest.raises(comet.CometError, match=r"cometbft\.not_enough_power"):
        verify(sign_commit(NETWORK, 7, BLOCK, powers, TIME_NS, absent=[3]), powers)


def test_one_unit_above_two_thirds_is_enough_at_the_greatest_power() -> None:
    third = comet.TOTAL_POWER_MAX // 3
    powers = {1: third, 2: third + 1, 3: third - 1}
    assert verify(sign_commit(NETWORK, 7, BLOCK, powers, TIME_NS, absent=[3]), powers) == 2 * third + 1


def test_votes_for_nil_are_checked_but_do_not_count() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, against=[1])
    assert verify(commit) == 30
    with pytest.raises(comet.CometError, match=r"cometbft\.not_enough_power"):
        verify(sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, against=[1, 2]))
    nil = next(place for place, vote in enumerate(commit.signatures) if vote.flag == comet.FLAG_NIL)
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_signature"):
        verify(changed_place(commit, nil, signature=b"\0" * 64))


def test_a_surplus_signature_that_is_false_is_refused_all_the_same() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS)
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_signature"):
        verify(changed_place(commit, 3, signature=commit.signatures[2].signature))


def test_a_commit_of_another_height_or_block_is_refused() -> None:
    commit = sign_commit(NETWORK, 8, BLOCK, FOUR, TIME_NS)
    with pytest.raises(comet.CometError, match=r"cometbft\.commit_mismatch"):
        verify(commit)
    other = comet.BlockID(b"\x03" * 32, BLOCK.parts)
    with pytest.raises(comet.CometError, match=r"cometbft\.commit_mismatch"):
        verify(sign_commit(NETWORK, 7, other, FOUR, TIME_NS))


def test_a_commit_of_another_network_is_refused() -> None:
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_signature"):
        verify(sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS), network="another-net")


def test_signatures_of_another_round_are_refused() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, round_=1)
    assert verify(commit) == 40
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_signature"):
        verify(replace(commit, round=0))


def test_a_place_too_many_or_too_few_is_refused() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS)
    for signatures in (commit.signatures[:3], (*commit.signatures, comet.ABSENT)):
        with pytest.raises(comet.CometError, match=r"cometbft\.commit_mismatch"):
            verify(replace(commit, signatures=signatures))


def test_one_signature_cannot_stand_in_two_places() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, absent=[1, 2])
    present = next(vote for vote in commit.signatures if vote.flag == comet.FLAG_COMMIT)
    doubled = replace(
        commit, signatures=tuple(vote if vote.address else present for vote in commit.signatures)
    )
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_vote"):
        verify(doubled)


def test_an_absent_vote_carries_nothing() -> None:
    commit = sign_commit(NETWORK, 7, BLOCK, FOUR, TIME_NS, absent=[1])
    place = commit.signatures.index(comet.ABSENT)
    for change in ({"time_ns": 0}, {"signature": b"\0" * 64}, {"address": b"\0" * 20}):
        with pytest.raises(comet.CometError, match=r"cometbft\.bad_vote"):
            verify(changed_place(commit, place, **change))


def test_a_header_that_names_other_validators_is_refused() -> None:
    chain = SimulatedChain(powers=dict(FOUR))
    chain.add_block(b"\0" * 32)
    with pytest.raises(comet.CometError, match=r"cometbft\.wrong_validators"):
        comet.verify_signed_header(NETWORK, chain.signed(1), validator_set({1: 10}))


def test_a_header_of_another_network_is_refused() -> None:
    chain = SimulatedChain(powers=dict(FOUR))
    chain.add_block(b"\0" * 32)
    with pytest.raises(comet.CometError, match=r"cometbft\.wrong_network"):
        comet.verify_signed_header("another-net", chain.signed(1), chain.validators(1))


def test_a_changed_header_does_not_fit_its_commit() -> None:
    chain = SimulatedChain(powers=dict(FOUR))
    chain.add_block(b"\0" * 32)
    signed = chain.signed(1)
    forged = replace(signed, header=replace(signed.header, app_hash=b"\x01" * 32))
    with pytest.raises(comet.CometError, match=r"cometbft\.commit_mismatch"):
        comet.verify_signed_header(NETWORK, forged, chain.validators(1))


@pytest.mark.parametrize(
    ("validators", "why"),
    [
        ([], "empty"),
        ([comet.Validator(signing_key(1).public_key, 0)], "no voting power"),
        ([comet.Validator(signing_key(1).public_key, -1)], "no voting power"),
        ([comet.Validator(b"\x02" + signing_key(1).public_key[1:], 1)], "not an Ed25519 key"),
        ([comet.Validator(signing_key(1).public_key[:-1], 1)], "not an Ed25519 key"),
        ([comet.Validator(signing_key(1).public_key, power) for power in (1, 2)], "twice"),
        (
            [comet.Validator(signing_key(n).public_key, comet.TOTAL_POWER_MAX) for n in (1, 2)],
            "too much power",
        ),
    ],
    ids=[
        "empty",
        "no power",
        "negative power",
        "other algorithm",
        "short key",
        "doubled key",
        "too much power",
    ],
)
def test_a_set_that_cannot_decide_is_refused(validators: list[comet.Validator], why: str) -> None:
    with pytest.raises(comet.CometError, match=why):
        comet.ValidatorSet.of(validators)


def test_the_set_is_ordered_by_power_and_then_by_address() -> None:
    found = validator_set({1: 5, 2: 7, 3: 5, 4: 7}).validators
    assert [v.power for v in found] == [7, 7, 5, 5]
    assert found[0].address < found[1].address
    assert found[2].address < found[3].address


# --- trust over a distance ----------------------------------------------------------------------------------

DAY_NS = 86_400 * comet.NANOSECONDS_PER_SECOND


def rotating_chain(length: int) -> SimulatedChain:
    """Four validators of equal power, one of whom is replaced by a new one after every block."""
    chain = SimulatedChain(powers={1: 10, 2: 10, 3: 10, 4: 10})
    for height in range(1, length + 1):
        chain.add_block(
            height.to_bytes(32, "big"), next_powers={height + number: 10 for number in range(1, 5)}
        )
    return chain


def step(chain: SimulatedChain, trusted: int, signed: comet.SignedHeader, now_ns: int | None = None) -> bytes:
    now_ns = chain.headers[-1].time_ns + 1 if now_ns is None else now_ns
    height = signed.header.height
    if height == trusted + 1:
        return comet.verify_adjacent(
            NETWORK,
            chain.header(trusted),
            signed,
            chain.validators(height),
            trusting_period_ns=DAY_NS,
            now_ns=now_ns,
        )
    return comet.verify_non_adjacent(
        NETWORK,
        chain.header(trusted),
        chain.validators(trusted + 1),
        signed,
        chain.validators(height),
        trusting_period_ns=DAY_NS,
        now_ns=now_ns,
    )


def test_bisection_reaches_the_end_of_a_chain_whose_validators_all_change() -> None:
    chain = rotating_chain(20)
    trusted, target, refused = 1, 20, 0
    height = target
    while trusted < target:
        try:
            assert step(chain, trusted, chain.signed(height)) == comet.header_hash(chain.header(height))
            trusted, height = height, target
        except comet.CometError as refusal:
            if refusal.code != "cometbft.not_enough_trust":
                raise
            refused += 1
            height = (trusted + height) // 2
    assert refused > 0


def test_exactly_one_third_of_the_trusted_power_is_not_enough_trust() -> None:
    chain = SimulatedChain(powers={1: 1, 2: 1, 3: 1})
    chain.add_block(b"\0" * 32)
    chain.add_block(b"\0" * 32, next_powers={1: 1, 4: 1, 5: 1})
    chain.add_block(b"\0" * 32)
    with pytest.raises(comet.CometError, match=r"cometbft\.not_enough_trust"):
        step(chain, 1, chain.signed(3))


def test_the_next_header_must_have_the_announced_validators() -> None:
    chain = rotating_chain(3)
    powers = dict.fromkeys(range(90, 94), 10)
    forged = resigned(
        chain.signed(3), powers, validators_hash=comet.validator_set_hash(validator_set(powers))
    )
    with pytest.raises(comet.CometError, match=r"cometbft\.wrong_validators"):
        comet.verify_adjacent(
            NETWORK,
            chain.header(2),
            forged,
            validator_set(powers),
            trusting_period_ns=DAY_NS,
            now_ns=chain.header(3).time_ns + 1,
        )


def test_a_jump_needs_the_set_that_the_trusted_header_announced() -> None:
    chain = rotating_chain(4)
    with pytest.raises(comet.CometError, match=r"cometbft\.wrong_validators"):
        comet.verify_non_adjacent(
            NETWORK,
            chain.header(1),
            chain.validators(4),
            chain.signed(4),
            chain.validators(4),
            trusting_period_ns=DAY_NS,
            now_ns=chain.header(4).time_ns + 1,
        )


def test_trust_expires_with_the_trusting_period() -> None:
    chain = rotating_chain(3)
    last = chain.header(2).time_ns + DAY_NS
    step(chain, 2, chain.signed(3), now_ns=last - 1)
    with pytest.raises(comet.CometError, match=r"cometbft\.trust_expired"):
        step(chain, 2, chain.signed(3), now_ns=last)


def test_a_header_from_the_future_is_refused_beyond_the_clock_drift() -> None:
    chain = rotating_chain(3)
    earliest = chain.header(3).time_ns - comet.CLOCK_DRIFT_NS
    step(chain, 2, chain.signed(3), now_ns=earliest + 1)
    with pytest.raises(comet.CometError, match=r"cometbft\.from_the_future"):
        step(chain, 2, chain.signed(3), now_ns=earliest)


def test_trust_does_not_run_backwards() -> None:
    chain = rotating_chain(5)
    with pytest.raises(comet.CometError, match=r"cometbft\.not_later"):
        step(chain, 4, chain.signed(2))
    early = resigned(chain.signed(4), chain.sets[3], time_ns=chain.header(2).time_ns)
    with pytest.raises(comet.CometError, match=r"cometbft\.not_later"):
        step(chain, 2, early)


def test_one_trusted_validator_is_not_counted_twice() -> None:
    powers = {1: 10, 2: 10, 3: 10, 4: 10}
    commit = sign_commit(NETWORK, 7, BLOCK, powers, TIME_NS)
    doubled = replace(commit, signatures=(commit.signatures[0],) * 4)
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_vote"):
        comet.verify_commit_trusting(NETWORK, validator_set(powers), doubled)


def test_blocks_are_a_second_and_a_nanosecond_apart_so_that_nanoseconds_count() -> None:
    chain = rotating_chain(2)
    assert chain.header(2).time_ns - chain.header(1).time_ns == BLOCK_INTERVAL_NS
    assert comet.decode_header(comet.encode_header(chain.header(2))).time_ns == chain.header(2).time_ns
