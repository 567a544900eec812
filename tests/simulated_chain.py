"""Validators and a chain of signed blocks, made from primitives alone: what tests of verifiers lie about.

Block h is signed by the validators of its height, and its header has the application hash after block h - 1,
as in any Guildbook network. Every key follows from a number, so a chain is the same in every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from guildbook.primitives import cometbft as comet
from guildbook.primitives.keys import SigningKey

NETWORK = "simulated-net"
FIRST_TIME_NS = 1_700_000_000 * comet.NANOSECONDS_PER_SECOND
BLOCK_INTERVAL_NS = comet.NANOSECONDS_PER_SECOND + 1


def signing_key(number: int) -> SigningKey:
    return SigningKey.from_seed(number.to_bytes(32, "big"))


def validator_set(powers: Mapping[int, int]) -> comet.ValidatorSet:
    """The validators with the keys of these numbers and these powers."""
    return comet.ValidatorSet.of(
        comet.Validator(signing_key(number).public_key, power) for number, power in powers.items()
    )


def sign_commit(
    network: str,
    height: int,
    block_id: comet.BlockID,
    powers: Mapping[int, int],
    time_ns: int,
    *,
    absent: Sequence[int] = (),
    against: Sequence[int] = (),
    round_: int = 0,
) -> comet.Commit:
    """A commit by all validators but those `absent`; those `against` sign for nil."""
    by_key = {signing_key(number).public_key: number for number in powers}
    places = []
    for validator in validator_set(powers).validators:
        number = by_key[validator.public_key]
        if number in absent:
            places.append(comet.ABSENT)
            continue
        flag, subject = (
            (comet.FLAG_NIL, comet.NO_BLOCK) if number in against else (comet.FLAG_COMMIT, block_id)
        )
        message = comet.vote_sign_bytes(network, height, round_, subject, time_ns + number)
        signature = signing_key(number).sign(message)
        places.append(comet.CommitSig(flag, validator.address, time_ns + number, signature))
    return comet.Commit(height, round_, block_id, tuple(places))


@dataclass
class SimulatedChain:
    """Blocks from height 1; `powers` are the validators of the next block by the numbers of their keys."""

    powers: dict[int, int] = field(default_factory=lambda: {1: 10})
    network: str = NETWORK
    headers: list[comet.Header] = field(default_factory=list)
    commits: list[comet.Commit] = field(default_factory=list)
    sets: list[dict[int, int]] = field(default_factory=list)

    def header(self, height: int) -> comet.Header:
        return self.headers[height - 1]

    def commit(self, height: int) -> comet.Commit:
        return self.commits[height - 1]

    def validators(self, height: int) -> comet.ValidatorSet:
        return validator_set(self.sets[height - 1])

    def signed(self, height: int) -> comet.SignedHeader:
        return comet.SignedHeader(self.header(height), self.commit(height))

    def add_block(
        self,
        app_hash: bytes,
        txs: Sequence[bytes] = (),
        *,
        next_powers: Mapping[int, int] | None = None,
        absent: Sequence[int] = (),
        against: Sequence[int] = (),
    ) -> comet.Header:
        """Append a block whose header states `app_hash`; `next_powers` are the validators from the next block
        on."""
        height = len(self.headers) + 1
        next_powers = dict(self.powers if next_powers is None else next_powers)
        last_commit = self.commits[-1] if self.commits else comet.EMPTY_COMMIT
        validators = validator_set(self.powers)
        header = comet.Header(
            chain_id=self.network,
            height=height,
            time_ns=FIRST_TIME_NS + height * BLOCK_INTERVAL_NS,
            last_block_id=last_commit.block_id,
            last_commit_hash=comet.commit_hash(last_commit),
            data_hash=comet.data_hash(txs),
            validators_hash=comet.validator_set_hash(validators),
            next_validators_hash=comet.validator_set_hash(validator_set(next_powers)),
            consensus_hash=comet.consensus_params_hash(4_194_304, -1),
            app_hash=app_hash,
            last_results_hash=comet.EMPTY_HASH,
            evidence_hash=comet.EMPTY_HASH,
            proposer_address=validators.validators[0].address,
        )
        block_id = comet.block_id(header, comet.encode_block(header, txs, last_commit))
        commit = sign_commit(
            self.network, height, block_id, self.powers, header.time_ns + 5, absent=absent, against=against
        )
        self.headers.append(header)
        self.commits.append(commit)
        self.sets.append(self.powers)
        self.powers = next_powers
        return header


def resigned(signed: comet.SignedHeader, powers: Mapping[int, int], **changes: object) -> comet.SignedHeader:
    """The header with `changes`, signed anew by `powers`: a forgery by whoever holds those keys."""
    header = replace(signed.header, **changes)  # type: ignore[arg-type]
    block_id = comet.BlockID(comet.header_hash(header), signed.commit.block_id.parts)
    commit = sign_commit(header.chain_id, header.height, block_id, powers, header.time_ns + 5)
    return comet.SignedHeader(header, commit)
