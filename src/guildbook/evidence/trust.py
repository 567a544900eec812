"""The trust anchor: whose signatures the reader of evidence believes in, and on which network.

Evidence is only as good as the anchor it is verified with, so the anchor must not come with the evidence: a
network publishes it where a stranger can find it twice (its statutes, its members' sites, a newspaper). It is
a JSON file of one network:

    {"network": "points-alliance",
     "validator_sets": [
       {"first_height": 1, "last_height": 80000,
        "validators": [{"key": "ed25519:5f...", "power": 10}, ...]}]}

The first set is the one of the genesis file. It is enough: evidence brings the handovers from one set to the
next. A later set shortens that way, and `last_height` (absent: no end) ends the trust in a set whose keys
have been replaced, so that whoever finds an old key later cannot sign new blocks with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from guildbook.evidence.format import EvidenceError
from guildbook.primitives import cometbft as comet
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import key_text, parse_key_text

TRUST_SIZE_BYTES_MAX: Final = 4_194_304
VALIDATOR_SETS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class TrustedSet:
    """Validators that are believed for the blocks from `first_height` to `last_height` (None: no end), both
    included.
    """

    validators: comet.ValidatorSet
    first_height: int = 1
    last_height: int | None = None

    def covers(self, height: int) -> bool:
        """Whether this set is believed at `height`."""
        return self.first_height <= height and (self.last_height is None or height <= self.last_height)


@dataclass(frozen=True, slots=True)
class Trust:
    """A network's id and the validator sets its evidence may start from."""

    network: str
    validator_sets: tuple[TrustedSet, ...]

    def believes(self, validators_hash: bytes, height: int) -> bool:
        """Whether a set with this hash is trusted at `height`."""
        return any(
            trusted.covers(height) and comet.validator_set_hash(trusted.validators) == validators_hash
            for trusted in self.validator_sets
        )


def _malformed(message: str) -> EvidenceError:
    return EvidenceError(
        "evidence.bad_trust",
        f"the trust anchor cannot be used: {message}",
        hint="fetch it again from where the network publishes it; docs/spec/evidence.md has its form",
        step="trust",
    )


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("an object has a member twice")
    return members


def _members(
    value: object, name: str, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{name} is not an object")
    for missing in sorted(required - value.keys()):
        raise _malformed(f"{name} has no {missing!r}")
    for unknown in sorted(value.keys() - required - optional):
        raise _malformed(f"{name} has a member {unknown!r}, which this version does not know")
    return value


def _height(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _malformed(f"{name} is not a height")
    return value


def parse_trust(data: bytes) -> Trust:
    """The trust anchor in a JSON file; `EvidenceError` "evidence.bad_trust" if it is none."""
    if len(data) > TRUST_SIZE_BYTES_MAX:
        raise _malformed(f"it has more than {TRUST_SIZE_BYTES_MAX} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"it is no JSON ({error})") from None
    found = _members(value, "the file", frozenset({"network", "validator_sets"}))
    network, sets = found["network"], found["validator_sets"]
    if not isinstance(network, str) or not network:
        raise _malformed("the network has no name")
    if not isinstance(sets, list) or not 1 <= len(sets) <= VALIDATOR_SETS_MAX:
        raise _malformed(f"there is not between one and {VALIDATOR_SETS_MAX} validator sets")
    return Trust(network, tuple(_trusted_set(item) for item in sets))


def _trusted_set(value: object) -> TrustedSet:
    found = _members(
        value, "a validator set", frozenset({"validators"}), frozenset({"first_height", "last_height"})
    )
    if not isinstance(found["validators"], list):
        raise _malformed("the validators of a set are not a list")
    validators = []
    for item in found["validators"]:
        entry = _members(item, "a validator", frozenset({"key", "power"}))
        key, power = entry["key"], entry["power"]
        if not isinstance(key, str) or isinstance(power, bool) or not isinstance(power, int):
            raise _malformed("a validator has no key or no power")
        try:
            validators.append(comet.Validator(parse_key_text(key), power))
        except GuildbookError as error:
            raise _malformed(error.message) from error
    last = found.get("last_height")
    try:
        members = comet.ValidatorSet.of(validators)
    except GuildbookError as error:
        raise _malformed(error.message) from error
    return TrustedSet(
        members,
        _height(found.get("first_height", 1), "the first height"),
        None if last is None else _height(last, "the last height"),
    )


def format_trust(trust: Trust) -> bytes:
    """The JSON file of a trust anchor, as `parse_trust` reads it."""
    sets = []
    for trusted in trust.validator_sets:
        entry: dict[str, Any] = {"first_height": trusted.first_height}
        if trusted.last_height is not None:
            entry["last_height"] = trusted.last_height
        entry["validators"] = [
            {"key": key_text(validator.public_key), "power": validator.power}
            for validator in trusted.validators.validators
        ]
        sets.append(entry)
    return json.dumps({"network": trust.network, "validator_sets": sets}, indent=2).encode() + b"\n"
