"""Public keys as a contract may judge them: fit to be registered, and possessed by whom they are registered for.

A key is registered together with a signature that it made over the network, the party and itself. So nobody can
register a key of somebody else: neither to keep its owner out, since a key is registered once on a network, nor to
have what its owner signs taken for the acts of another party. Both judgements depend on their arguments alone.
"""

from guildbook.primitives.canonical import encode
from guildbook.primitives.checkpoint import parse_note_key
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import check_public_key, verify

POSSESSION_PREFIX = b"guildbook/possession/v1\0"


def is_acceptable_key(public_key: bytes) -> bool:
    """Whether ``public_key`` (algorithm byte and raw key) is fit to be registered: of a known algorithm, the right
    length, and not one with which anybody can sign (docs/spec/keys.md).
    """
    try:
        check_public_key(public_key)
    except GuildbookError:
        return False
    return True


def is_witness_key(name: str, text: str) -> bool:
    """Whether ``text`` is the C2SP verifier key of a witness called ``name`` (``<name>+<id>+<base64>``)."""
    try:
        return parse_note_key(text).name == name
    except GuildbookError:
        return False


def possession_statement(network: str, party: str, public_key: bytes) -> bytes:
    """What a key signs to be registered for ``party`` on ``network``: a prefix, then the canonical encoding of
    [network, party, public key].
    """
    return POSSESSION_PREFIX + encode([network, party, public_key])


def proves_possession(network: str, party: str, public_key: bytes, proof: bytes) -> bool:
    """Whether ``proof`` is a signature by ``public_key`` of its ``possession_statement``."""
    return verify(public_key, possession_statement(network, party, public_key), proof)
