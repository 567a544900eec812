"""Blocks of one validator in CometBFT's encoding: built by the solo engine, and checked again at replay."""

from typing import NamedTuple

from guildbook.chain.head import Head
from guildbook.primitives.cometbft import (
    EMPTY_COMMIT,
    BlockID,
    Commit,
    CommitSig,
    Header,
    Validator,
    ValidatorSet,
    block_id,
    commit_hash,
    consensus_params_hash,
    data_hash,
    encode_block,
    evidence_hash,
    validator_set_hash,
    vote_sign_bytes,
)
from guildbook.primitives.keys import SigningKey

FLAG_COMMIT = 2
GAS_UNLIMITED = -1
BLOCK_SIZE_BYTES_MAX = 67_108_864
"""What headers state as the block's bound: the highest that the parameter ``block_size_bytes_max`` may be given."""


class BuiltBlock(NamedTuple):
    """A block ready to be stored, with its id."""

    header: Header
    data: bytes
    id: BlockID


def build_block(
    network: str,
    head: Head,
    last_commit: Commit | None,
    validators: ValidatorSet,
    proposer: Validator,
    time_ns: int,
    bundles: tuple[bytes, ...],
) -> BuiltBlock:
    """The block after ``head`` with ``bundles``; ``last_commit`` is the one for ``head``, None at the first block."""
    last = last_commit if last_commit is not None else EMPTY_COMMIT
    validators_hash = validator_set_hash(validators)
    header = Header(
        chain_id=network,
        height=head.height + 1,
        time_ns=time_ns,
        last_block_id=head.block_id,
        last_commit_hash=commit_hash(last),
        data_hash=data_hash(bundles),
        validators_hash=validators_hash,
        next_validators_hash=validators_hash,
        consensus_hash=consensus_params_hash(BLOCK_SIZE_BYTES_MAX, GAS_UNLIMITED),
        app_hash=head.app_hash,
        last_results_hash=head.results_hash,
        evidence_hash=evidence_hash(()),
        proposer_address=proposer.address,
    )
    data = encode_block(header, bundles, last)
    return BuiltBlock(header, data, block_id(header, data))


def sign_commit(
    network: str, height: int, block: BlockID, time_ns: int, signing_key: SigningKey, validator: Validator
) -> Commit:
    """The commit of a block by its only validator."""
    signature = signing_key.sign(vote_sign_bytes(network, height, 0, block, time_ns))
    return Commit(height, 0, block, (CommitSig(FLAG_COMMIT, validator.address, time_ns, signature),))
