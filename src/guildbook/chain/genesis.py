"""Genesis: the one file from which every member builds the same first state.

It names the network, its validators, parameters, contracts with their source, and the founding organisations with
their people and keys. Members compare its hash. Format: docs/spec/genesis.md.
"""

import msgspec

from guildbook.chain.head import Head, application_hash
from guildbook.chain.state import State
from guildbook.chain.transition import BlockResult, finish_block
from guildbook.primitives.cometbft import Validator, ValidatorSet
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.identifiers import check_code, check_network_id, check_permission
from guildbook.primitives.keys import check_public_key, parse_key_text
from guildbook.primitives.merkle_log import EMPTY_ROOT, LogEdge
from guildbook.primitives.state_tree import StateTree
from guildbook.runtime.call import Execution
from guildbook.runtime.identity import PartyKind
from guildbook.runtime.parameters import BOUNDS, Parameters
from guildbook.runtime.registry import LoadedContract, Registry
from guildbook.runtime.validators import VALIDATORS_MAX
from guildbook.state.kv import Reader
from guildbook.state.overlay import Overlay

GENESIS_FORMAT = 1
GENESIS_SIZE_BYTES_MAX = 16 << 20
FOUNDING_CONTRACTS = ("governance", "parties")
"""The contracts without which no network runs."""
COUNCIL = "council"
"""The contract without which several members cannot decide anything."""
ENGINES = ("solo", "cometbft")
"""What decides the order of a network's transactions: one process for good, or validators that can change."""


class GenesisValidator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that signs blocks: key text, voting power (1 up), and the organisation that runs it."""

    key: str
    power: int
    organisation: str


class GenesisParty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A founding person, device or service: its key text and its permissions (``contract:role``)."""

    id: str
    kind: str
    name: str
    key: str
    permissions: list[str]


class GenesisOrganisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A founding organisation with its permissions and parties.

    ``member_class`` is the class in which it votes as a member; empty, it takes part without being one.
    ``affiliation`` names the group that it has one vote with; empty, it is on its own.
    """

    id: str
    name: str
    jurisdiction: str
    permissions: list[str]
    parties: list[GenesisParty]
    member_class: str = "member"
    affiliation: str = ""


class GenesisContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contract that runs from the first block, with its source text."""

    name: str
    version: int
    source: str


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The founding document. ``time_ms`` is milliseconds UTC since 1970; ``engine`` is one of ENGINES."""

    format: int
    network: str
    time_ms: int
    parameters: dict[str, int]
    validators: list[GenesisValidator]
    organisations: list[GenesisOrganisation]
    contracts: list[GenesisContract]
    engine: str = "solo"

    @property
    def hash(self) -> bytes:
        """What members compare: a tagged hash (32 bytes) of the document in its own JSON form."""
        return tagged("genesis", self.to_json())

    @property
    def validator_set(self) -> ValidatorSet:
        """The first validator set."""
        return ValidatorSet.of(Validator(parse_key_text(one.key), one.power) for one in self.validators)

    def to_json(self) -> bytes:
        """The document as JSON: fields in order of declaration, parameters by name, indented by two."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=2) + b"\n"


def malformed(message: str, hint: str) -> GuildbookError:
    """The error for a genesis document that cannot found a network."""
    return GuildbookError("genesis.malformed", message, hint=hint)


def read_genesis(data: bytes) -> Genesis:
    """The genesis in JSON ``data``; raises GuildbookError ``genesis.malformed``."""
    if len(data) > GENESIS_SIZE_BYTES_MAX:
        raise malformed(
            f"the genesis document has {len(data)} bytes", f"at most {GENESIS_SIZE_BYTES_MAX} are read"
        )
    try:
        genesis = msgspec.json.decode(data, type=Genesis)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"the genesis document cannot be read: {error}", "see docs/spec/genesis.md") from None
    check_genesis(genesis)
    return genesis


def check_genesis(genesis: Genesis) -> None:
    """Refuse a document that cannot found a network; the message says where it is wrong."""
    if genesis.format != GENESIS_FORMAT:
        raise malformed(f"genesis format {genesis.format}", f"this software reads format {GENESIS_FORMAT}")
    try:
        check_network_id(genesis.network)
        for permission in (
            one
            for organisation in genesis.organisations
            for one in [
                *organisation.permissions,
                *(held for party in organisation.parties for held in party.permissions),
            ]
        ):
            check_permission(permission)
        for party in (party for organisation in genesis.organisations for party in organisation.parties):
            check_public_key(parse_key_text(party.key))
            PartyKind(party.kind)
        _ = genesis.validator_set
    except (GuildbookError, ValueError) as error:
        raise malformed(str(error), "correct the document") from None
    if genesis.time_ms < 1:
        raise malformed("the genesis time is not after 1970", "give milliseconds since 1970")
    for name, value in genesis.parameters.items():
        if name not in BOUNDS or not BOUNDS[name][0] <= value <= BOUNDS[name][1]:
            raise malformed(f"parameter {name} = {value}", f"known parameters and bounds: {BOUNDS}")
    names = [contract.name for contract in genesis.contracts]
    if len(set(names)) != len(names) or not set(FOUNDING_CONTRACTS) <= set(names):
        raise malformed(
            "a contract is named twice, or a founding contract is missing",
            f"every network has {', '.join(FOUNDING_CONTRACTS)}",
        )
    _check_members(genesis)


def _check_members(genesis: Genesis) -> None:
    if genesis.engine not in ENGINES:
        raise malformed(f"engine {genesis.engine!r}", f"choose from {', '.join(ENGINES)}")
    try:
        for one in genesis.organisations:
            check_code(one.member_class or "member", "member class")
            check_code(one.affiliation or one.id, "affiliation")
        for validator in genesis.validators:
            check_code(validator.organisation, "organisation")
            check_public_key(parse_key_text(validator.key))
    except GuildbookError as error:
        raise malformed(str(error), "correct the document") from None
    members = [one.id for one in genesis.organisations if one.member_class]
    if len(members) > 1 and COUNCIL not in [one.name for one in genesis.contracts]:
        raise malformed(f"{len(members)} members without the contract {COUNCIL}", "add its entry")
    if len(genesis.validators) > VALIDATORS_MAX:
        raise malformed(f"{len(genesis.validators)} validators", f"at most {VALIDATORS_MAX} sign")


def load_contracts(genesis: Genesis, registry: Registry) -> dict[str, LoadedContract]:
    """The founding contracts by name, loaded from the document's sources."""
    loaded: dict[str, LoadedContract] = {}
    for entry in genesis.contracts:
        one = registry.load(entry.source, f"<genesis {entry.name}>")
        if (one.name, one.version) != (entry.name, entry.version):
            raise malformed(
                f"the source of {entry.name} {entry.version} declares {one.name} {one.version}",
                "use the source that belongs to the entry",
            )
        loaded[one.name] = one
    for one in loaded.values():
        for used in one.contract.uses.values():
            if used.contract_name not in loaded:
                raise malformed(
                    f"{one.name} uses {used.contract_name}, which is not founded", "add its entry"
                )
    return {name: loaded[name] for name in sorted(loaded)}


def _nothing(_key: bytes) -> None:
    """What is in an empty store."""


def empty_state(network: str, reader: Reader) -> State:
    """The state before genesis."""
    tree = StateTree(_nothing)
    head = Head(
        0, 0, tree.root(), EMPTY_ROOT, 0, application_hash(tree.root(), EMPTY_ROOT, 0), b"", b"", 0, b"", b""
    )
    return State(network, reader, tree, LogEdge(), head)


def apply_genesis(genesis: Genesis, state: State, registry: Registry) -> BlockResult:
    """The founding rows as the changes of height 0; ``state`` is empty."""
    loaded = load_contracts(genesis, registry)
    overlay = Overlay(state.reader, state.cache)
    execution = Execution(overlay, loaded, genesis.network, 0, genesis.time_ms, Parameters())
    overlay.begin(1 << 62)
    parties = [
        (
            one.id,
            one.name,
            one.jurisdiction,
            tuple(one.permissions),
            tuple(
                (
                    party.id,
                    PartyKind(party.kind),
                    party.name,
                    tuple(party.permissions),
                    parse_key_text(party.key),
                )
                for party in one.parties
            ),
        )
        for one in genesis.organisations
    ]
    members = [
        (one.id, one.member_class, one.affiliation or one.id)
        for one in genesis.organisations
        if one.member_class
    ]
    validators = [(parse_key_text(one.key), one.power, one.organisation) for one in genesis.validators]
    releases = [(one.name, one.version, one.source_hash, one.text) for one in loaded.values()]
    execution.contract("parties").found(organisations=parties)  # type: ignore[attr-defined]
    execution.contract("governance").found(  # type: ignore[attr-defined]
        members=members,
        parameters=sorted(genesis.parameters.items()),
        releases=releases,
        validators=validators,
        engine=genesis.engine,
    )
    return finish_block(state, 0, genesis.time_ms * 1_000_000, execution, [], [], [], [])
