"""Validators that are proven to have misbehaved, as the engine tells them with a block.

An engine of several validators puts evidence into a block when a validator signed two blocks of one height, or signed
one that was made to deceive those who check headers alone. The block's bytes hold the evidence itself; what a ledger
learns of it is the list here, which follows from those bytes, so that a replay from stored blocks sees the same.
"""

from collections.abc import Iterable

import msgspec

from guildbook.primitives import protobuf as pb
from guildbook.primitives.cometbft import CometError, decode_time

DUPLICATE_VOTE = 1
"""A validator signed two blocks of one height and round."""
LIGHT_CLIENT_ATTACK = 2
"""A validator signed a block beside the chain."""


class Misbehaviour(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One proven misbehaviour: what (one of the numbers above), by whom, and when it happened.

    ``address``: the validator's, 20 bytes. ``power``: its voting power then, of ``total_power``. ``height`` and
    ``time_ns``: of the block that was voted on.
    """

    kind: int
    address: bytes
    power: int
    height: int
    time_ns: int
    total_power: int


def misbehaviour_of(evidence: Iterable[bytes]) -> list[Misbehaviour]:
    """What the evidence in a block (protobuf messages, as ``Block.evidence`` holds them) proves, in its order.

    Raises CometError or ProtobufError for evidence of a kind that is not known.
    """
    found: list[Misbehaviour] = []
    for item in evidence:
        ((number, _wire, _value, content),) = tuple(pb.fields(item))
        if number == DUPLICATE_VOTE:
            found.append(_double_vote(content))
        elif number == LIGHT_CLIENT_ATTACK:
            found.extend(_attack(content))
        else:
            raise CometError(
                "cometbft.malformed",
                f"evidence of misbehaviour of kind {number}",
                hint="this software knows kinds 1 and 2; a newer engine may make others",
                kind=number,
            )
    return found


def _double_vote(content: bytes) -> Misbehaviour:
    evidence = pb.Message("evidence of a double vote", content)
    vote = pb.Message("vote", evidence.message(1))
    return Misbehaviour(
        DUPLICATE_VOTE,
        vote.octets(6),
        evidence.signed(4),
        vote.signed(2),
        decode_time(evidence.message(5)),
        evidence.signed(3),
    )


def _attack(content: bytes) -> list[Misbehaviour]:
    evidence = pb.Message("evidence of an attack", content)
    height, total = evidence.signed(2), evidence.signed(4)
    time_ns = decode_time(evidence.message(5))
    guilty = [pb.Message("validator", one) for one in evidence.repeated(3)]
    return [
        Misbehaviour(LIGHT_CLIENT_ATTACK, one.octets(1), one.signed(3), height, time_ns, total)
        for one in guilty
    ]
