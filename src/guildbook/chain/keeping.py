"""Blocks of an engine outside this process: run as soon as they are decided, kept in full a moment later.

Such an engine tells what to run (time, bundles, proven misbehaviour, the block's hash) and not the block itself: its
bytes and the signatures under it are fetched afterwards. In between the store holds what was run as ``Decided``, so
that at every moment the whole state follows from what is stored. ``kept_writes`` replaces it by block and commit, once
they are proven to be the very ones; the head of such a ledger names the block's hash and no parts.
"""

from collections.abc import Sequence

import msgspec

from guildbook.chain.head import application_hash
from guildbook.chain.ledger import View
from guildbook.chain.misbehaviour import Misbehaviour
from guildbook.chain.transition import BlockInput
from guildbook.primitives.canonical import decode, encode
from guildbook.primitives.cometbft import (
    Block,
    BlockID,
    CometError,
    Commit,
    PartSetHeader,
    block_id,
    check_block,
    encode_block,
    encode_commit,
    validator_set_hash,
    verify_commit,
)
from guildbook.state import layout

NO_PARTS = PartSetHeader(0, b"")


class Decided(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was run at one height. ``block_hash`` is the header's hash; ``time_ns`` in nanoseconds since 1970."""

    height: int
    time_ns: int
    block_hash: bytes
    bundles: list[bytes]
    misbehaviour: list[Misbehaviour]

    @property
    def input(self) -> BlockInput:
        """The block as the state transition takes it."""
        return BlockInput(self.height, self.time_ns, self.bundles, self.misbehaviour)

    @property
    def block_id(self) -> BlockID:
        """The block's id as far as it is known: its hash."""
        return BlockID(self.block_hash, NO_PARTS)

    def write(self) -> tuple[bytes, bytes]:
        """The pair to store."""
        return layout.height_key(layout.DECIDED, self.height), encode(self)


def decided(view: View, height: int) -> Decided | None:
    """What was run at ``height``, where its block is still to be fetched."""
    data = view.reader.get(layout.height_key(layout.DECIDED, height))
    return None if data is None else decode(data, Decided)


def heights_to_keep(view: View, count_max: int) -> list[int]:
    """The lowest heights, ascending, whose blocks are still to be fetched."""
    end = layout.height_key(layout.DECIDED, (1 << 63) - 1)
    return [int.from_bytes(key[1:], "big") for key, _data in view.reader.page(layout.DECIDED, end, count_max)]


def kept_writes(
    view: View, block: Block, commit: Commit, before: BlockID | None
) -> tuple[BlockID, Sequence[tuple[bytes, bytes | None]]]:
    """The block's id, and the pairs that keep it with its commit instead of what was run.

    ``before`` is the id of the block before it, where that is known. Raises CometError for what is not the block
    that was run here, or is not signed by its validators.
    """
    height = block.header.height
    run = decided(view, height)
    data = encode_block(block.header, block.txs, block.last_commit, block.evidence)
    identity = block_id(block.header, data)
    if run is None or run.block_hash != identity.hash or block.header.chain_id != view.network:
        raise CometError(
            "cometbft.block_mismatch",
            f"this is not the block that was run at height {height}",
            hint="the engine serves another network, or its block store is damaged",
            height=height,
            found=identity.hash.hex(),
            expected="" if run is None else run.block_hash.hex(),
        )
    check_follows(view, block, before)
    verify_commit(view.network, view.validators(height), height, identity, commit)
    return identity, [
        (layout.height_key(layout.BLOCKS, height), data),
        (layout.height_key(layout.COMMITS, height), encode_commit(commit)),
        (layout.height_key(layout.DECIDED, height), None),
    ]


def check_follows(view: View, block: Block, before: BlockID | None) -> None:
    """Refuse (CometError) a block whose content is not its header's, or that does not follow from this ledger."""
    header = block.header
    check_block(block)
    roots = view.roots(header.height - 1)
    stated = None if roots is None else application_hash(roots.state_root, roots.log_root, roots.log_size)
    for name, found, expected in (
        ("validators", header.validators_hash, validator_set_hash(view.validators(header.height))),
        (
            "next validators",
            header.next_validators_hash,
            validator_set_hash(view.validators(header.height + 1)),
        ),
        ("application hash", header.app_hash, stated),
        ("last block", header.last_block_id, before),
    ):
        if expected is not None and found != expected:
            raise CometError(
                "cometbft.block_mismatch",
                f"block {header.height} has another {name} than the ledger before it",
                hint="compare this node's application hashes with those of other members",
                height=header.height,
            )

