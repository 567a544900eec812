"""Founding a network with several members: a proposal, one signed join from each, and the genesis made of them.

    proposal   what the members are asked to agree on: the network's id and time, its parameters, the contracts by the
               hash of their source, and which organisations take part, with which permissions, and with a vote or not
    join       an organisation's answer: its people and their public keys, the key of its validator, and where its
               node is reached; signed by every key that it names, so nobody joins with a key that is not theirs
    genesis    follows from the proposal and all joins; the order in which they came does not matter
    peers      where each node is reached; it is no part of what is agreed, and each node may change its own

Every secret key is drawn on its owner's machine and stays there. A member trusts nobody: from the same files every
machine makes the same bytes, and before a member makes its node it compares one hash with the others.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from guildbook.chain.genesis import (
    GENESIS_FORMAT,
    Genesis,
    GenesisContract,
    GenesisOrganisation,
    GenesisParty,
    GenesisValidator,
    check_genesis,
)
from guildbook.engine.cometbft.home import Peer, engine_address
from guildbook.foundation import FOUNDATION
from guildbook.node.applications import load_applications
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.identifiers import check_code, check_network_id, check_permission
from guildbook.primitives.keys import SigningKey, check_public_key, key_text, parse_key_text, verify
from guildbook.runtime.parameters import BOUNDS
from guildbook.runtime.registry import LoadedContract, Registry
from guildbook.state.record import NAME_CHARS_MAX

FORMAT = 1
DOCUMENT_SIZE_BYTES_MAX = 1 << 20
MEMBERS_MAX = 100
PARTIES_MAX = 100
JOIN_PREFIX = b"guildbook/join/v1\0"
PARTY_KINDS = ("person", "device", "service")
_ADDRESS = re.compile(
    r"(?P<host>\[[0-9a-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):(?P<port>[0-9]{1,5})\Z"
)
_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,260}(?:/[A-Za-z0-9._~/-]{0,200})?\Z")


class ProposedContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contract that runs from the first block, by the SHA-256 of its source in hexadecimal."""

    name: str
    version: int
    source: str


class ProposedMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organisation that is asked to take part: with a vote, and a validator of this power, or as an observer, whose
    node follows and answers without one. ``permissions`` (``contract:role``) bound those of its parties.

    ``member_class`` is the class in which it votes on the network's affairs, ``affiliation`` the group that it has one
    vote with (empty: on its own); an observer has neither.
    """

    organisation: str
    name: str
    jurisdiction: str
    permissions: list[str]
    observer: bool = False
    power: int = 1
    member_class: str = "member"
    affiliation: str = ""


class Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the members are asked to agree on. ``time_ms`` (UTC since 1970) becomes the genesis time."""

    format: int
    network: str
    time_ms: int
    parameters: dict[str, int]
    applications: list[str]
    contracts: list[ProposedContract]
    members: list[ProposedMember]

    @property
    def hash(self) -> bytes:
        """What a join answers to: a tagged hash (32 bytes) of the document in its own form."""
        return tagged("proposal", self.to_json())

    def to_json(self) -> bytes:
        """The document: fields in order of declaration, parameters by name, indented by two."""
        return _json(self)

    def member(self, organisation: str) -> ProposedMember:
        """The proposed member of this id. Raises GuildbookError ``network.mismatch``."""
        for one in self.members:
            if one.organisation == organisation:
                return one
        raise _mismatch(
            f"the proposal of {self.network} does not ask {organisation} to take part",
            f"it asks: {', '.join(one.organisation for one in self.members)}",
        )


class JoiningParty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person, device or service that acts for the organisation, with its key text and permissions."""

    id: str
    kind: str
    name: str
    key: str
    permissions: list[str]


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organisation's answer to a proposal.

    ``validator`` and ``node`` are key texts: the one signs blocks (an observer's does not, until a vote admits it), the
    other is how peers know the node. ``p2p_address`` (``host:port``) is where peers reach it, ``api_url`` where its
    interface is, or empty. ``signatures`` has one, in hexadecimal, for each key that is named, by key text.
    """

    format: int
    network: str
    proposal: str
    organisation: str
    parties: list[JoiningParty]
    validator: str
    node: str
    p2p_address: str
    api_url: str
    signatures: dict[str, str]

    @property
    def keys(self) -> list[str]:
        """The texts of all keys that it names, which are those that sign it."""
        return [self.validator, self.node, *(one.key for one in self.parties)]

    @property
    def statement(self) -> bytes:
        """What each key signs: a prefix, and the document without its signatures."""
        return JOIN_PREFIX + _json(msgspec.structs.replace(self, signatures={}))

    def to_json(self) -> bytes:
        """The document: fields in order of declaration, signatures by key, indented by two."""
        return _json(self)


class NodeEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one organisation's node is reached: id and address for peers, and its interface, or empty."""

    organisation: str
    id: str
    p2p_address: str
    api_url: str
    observer: bool


class Peers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The nodes of a network, by organisation. A node's operator may change it; restart the node then."""

    format: int
    network: str
    genesis_hash: str
    nodes: list[NodeEntry]

    def to_json(self) -> bytes:
        """The document, indented by two."""
        return _json(self)

    @property
    def engines(self) -> list[Peer]:
        """The nodes as an engine connects to them."""
        return [Peer(one.id, one.p2p_address) for one in self.nodes]


Document = TypeVar("Document", Proposal, Join, Peers)


# proposing -----------------------------------------------------------------------------------------------------------


def contracts_at_hand(applications: Sequence[str]) -> list[LoadedContract]:
    """The foundation's contracts and those of ``applications``, as this machine has them installed, in one order."""
    registry = Registry()
    return [registry.install(one) for one in (*FOUNDATION, *load_applications(list(applications)))]


def roles_of(contracts: Iterable[LoadedContract]) -> list[str]:
    """Every permission that ``contracts`` know, sorted."""
    return sorted(f"{one.name}:{role}" for one in contracts for role in one.contract.roles)


def make_proposal(
    network: str,
    members: Sequence[ProposedMember],
    applications: Sequence[str],
    time_ms: int,
    parameters: Mapping[str, int] | None = None,
) -> Proposal:
    """A proposal of the contracts that are installed here. Raises as ``check_proposal``, and BadConfiguration."""
    proposal = Proposal(
        FORMAT,
        network,
        time_ms,
        dict(parameters or {}),
        list(applications),
        [
            ProposedContract(one.name, one.version, one.source_hash.hex())
            for one in contracts_at_hand(applications)
        ],
        list(members),
    )
    check_proposal(proposal)
    return proposal


def read_proposal(data: bytes) -> Proposal:
    """The proposal in ``data``. Raises GuildbookError ``network.malformed``."""
    proposal = _read(data, Proposal, "proposal")
    check_proposal(proposal)
    return proposal


def check_proposal(proposal: Proposal) -> None:
    """Refuse a proposal that cannot found a network: ``network.malformed``, saying which entry."""
    _check_format(proposal.format, "proposal")
    try:
        check_network_id(proposal.network)
        for member in proposal.members:
            check_code(member.organisation, "organisation")
            check_code(member.jurisdiction, "jurisdiction")
            check_code(member.member_class, "member class")
            check_code(member.affiliation or member.organisation, "affiliation")
            for permission in member.permissions:
                check_permission(permission)
    except GuildbookError as error:
        raise _malformed(error.message, error.hint) from None
    names = [one.organisation for one in proposal.members]
    if len(set(names)) != len(names):
        raise _malformed("the proposal asks an organisation twice", "name each once")
    if not any(not one.observer for one in proposal.members) or len(names) > MEMBERS_MAX:
        raise _malformed(
            f"the proposal asks {len(names)} organisations, {sum(one.observer for one in proposal.members)} of them "
            "as observers",
            f"a network has at least one member with a vote, and {MEMBERS_MAX} organisations at most",
        )
    for member in proposal.members:
        if not 1 <= len(member.name) <= NAME_CHARS_MAX:
            raise _malformed(
                f"the name of {member.organisation} has {len(member.name)} characters",
                f"1 to {NAME_CHARS_MAX}",
            )
        if not member.observer and member.power < 1:
            raise _malformed(
                f"{member.organisation} has no voting power", "give 1 or more, or make it an observer"
            )
    for name, value in proposal.parameters.items():
        if name not in BOUNDS or not BOUNDS[name][0] <= value <= BOUNDS[name][1]:
            raise _malformed(f"parameter {name} = {value}", f"known parameters and bounds: {BOUNDS}")
    if proposal.time_ms < 1:
        raise _malformed("the genesis time is not after 1970", "give milliseconds since 1970")


def check_sources(proposal: Proposal) -> list[LoadedContract]:
    """The proposed contracts as they are installed here; ``network.mismatch`` when any differs from the proposal."""
    here = contracts_at_hand(proposal.applications)
    for wanted, found in zip(proposal.contracts, [*here, *[None] * len(proposal.contracts)], strict=False):
        if found is None or (found.name, found.version, found.source_hash.hex()) != (
            wanted.name, wanted.version, wanted.source
        ):  # fmt: skip
            have = (
                "is not installed"
                if found is None
                else f"is {found.version}, source {found.source_hash.hex()}"
            )
            raise _mismatch(
                f"the proposal has {wanted.name} {wanted.version}, source {wanted.source}; here {have}",
                "install the version of the software and of the applications that the members agreed on",
                contract=wanted.name,
            )
    if len(here) != len(proposal.contracts):
        raise _mismatch(
            f"{len(here)} contracts are installed here and {len(proposal.contracts)} proposed",
            "install the version of the software that the members agreed on",
        )
    return here


# joining -------------------------------------------------------------------------------------------------------------


def make_join(
    proposal: Proposal,
    organisation: str,
    parties: Sequence[tuple[JoiningParty, SigningKey]],
    validator: SigningKey,
    node: SigningKey,
    p2p_address: str,
    api_url: str = "",
) -> Join:
    """A signed join. ``parties`` come with their keys; the key text in them is set here. Raises as ``check_join``."""
    draft = Join(
        FORMAT,
        proposal.network,
        proposal.hash.hex(),
        organisation,
        [msgspec.structs.replace(one, key=key_text(key.public_key)) for one, key in parties],
        key_text(validator.public_key),
        key_text(node.public_key),
        p2p_address,
        api_url,
        {},
    )
    signers = [validator, node, *(key for _one, key in parties)]
    join = msgspec.structs.replace(
        draft, signatures={key_text(one.public_key): one.sign(draft.statement).hex() for one in signers}
    )
    check_join(proposal, join)
    return join


def read_join(data: bytes) -> Join:
    """The join in ``data``, in form; ``check_join`` judges it. Raises GuildbookError ``network.malformed``."""
    return _read(data, Join, "join")


def check_join(proposal: Proposal, join: Join) -> None:
    """Refuse a join that does not belong to ``proposal``, in this order: another proposal or an organisation that is
    not asked (``network.mismatch``), an entry that cannot be (``network.malformed``), a permission beyond the
    organisation's (``network.mismatch``), a key that did not sign (``network.bad_proof``).
    """
    _check_format(join.format, "join")
    if (join.network, join.proposal) != (proposal.network, proposal.hash.hex()):
        raise _mismatch(
            f"the join of {join.organisation} answers to proposal {join.proposal} of {join.network}, and this one is "
            f"{proposal.hash.hex()} of {proposal.network}",
            "send every member the same proposal, and have the join made again",
            organisation=join.organisation,
        )
    member = proposal.member(join.organisation)
    _check_entries(join)
    for party in join.parties:
        beyond = sorted(set(party.permissions) - set(member.permissions))
        if beyond:
            raise _mismatch(
                f"{join.organisation} grants {party.id} {', '.join(beyond)}, which the proposal does not give it",
                f"the proposal gives it: {', '.join(member.permissions) or 'none'}",
                organisation=join.organisation,
            )
    statement = join.statement
    for text in join.keys:
        if not verify(parse_key_text(text), statement, _signature(join, text)):
            raise GuildbookError(
                "network.bad_proof",
                f"the join of {join.organisation} is not signed by its key {text}",
                hint="have it made again with the files of all its keys at hand",
                organisation=join.organisation,
                key=text,
            )


def _check_entries(join: Join) -> None:
    whose = f"the join of {join.organisation}"
    try:
        for party in join.parties:
            check_code(party.id, "party")
            for permission in party.permissions:
                check_permission(permission)
        for text in join.keys:
            check_public_key(parse_key_text(text))
    except GuildbookError as error:
        raise _malformed(f"{whose}: {error.message}", error.hint) from None
    if not 1 <= len(join.parties) <= PARTIES_MAX:
        raise _malformed(
            f"{whose} has {len(join.parties)} parties", f"1 to {PARTIES_MAX} act for an organisation"
        )
    for party in join.parties:
        if party.kind not in PARTY_KINDS or not 1 <= len(party.name) <= NAME_CHARS_MAX:
            raise _malformed(
                f"{whose}: party {party.id} is of kind {party.kind!r} and has a name of {len(party.name)} characters",
                f"kinds: {', '.join(PARTY_KINDS)}; a name has 1 to {NAME_CHARS_MAX}",
            )
    if len(set(join.keys)) != len(join.keys) or len({one.id for one in join.parties}) != len(join.parties):
        raise _malformed(f"{whose} uses one key or one party twice", "every use has a key of its own")
    if not is_address(join.p2p_address):
        raise _malformed(
            f"{whose}: {join.p2p_address!r} is no address", "give host:port, as node.example.org:26656"
        )
    if join.api_url and _URL.match(join.api_url) is None:
        raise _malformed(
            f"{whose}: {join.api_url!r} is no address of an interface", "give http://host:port, or nothing"
        )
    if set(join.signatures) != set(join.keys):
        raise GuildbookError(
            "network.bad_proof",
            f"{whose} has {len(join.signatures)} signatures for {len(join.keys)} keys",
            hint="have it made again with the files of all its keys at hand",
            organisation=join.organisation,
        )


def is_address(text: str) -> bool:
    """Whether ``text`` is ``host:port``, the host a name, an IPv4 address, or an IPv6 address in brackets."""
    found = _ADDRESS.match(text)
    return found is not None and 0 < int(found["port"]) <= 65_535


def _signature(join: Join, text: str) -> bytes:
    try:
        return bytes.fromhex(join.signatures[text])
    except ValueError:
        return b""


# founding ------------------------------------------------------------------------------------------------------------


def collect(proposal: Proposal, joins: Iterable[Join]) -> tuple[Genesis, Peers]:
    """The genesis of ``proposal`` with the joins of all whom it asks, and where their nodes are.

    The same join may be given twice. Raises as ``check_join`` and ``check_sources``, ``network.malformed`` when two
    joins name one key or party, and ``network.incomplete`` naming whose are missing.
    """
    check_proposal(proposal)
    contracts = check_sources(proposal)
    answers: dict[str, Join] = {}
    for join in joins:
        check_join(proposal, join)
        if answers.setdefault(join.organisation, join) != join:
            raise _malformed(
                f"there are two different joins of {join.organisation}",
                "ask it which one counts, and leave out the other",
            )
    missing = [one.organisation for one in proposal.members if one.organisation not in answers]
    if missing:
        raise GuildbookError(
            "network.incomplete",
            f"the joins of {', '.join(missing)} are missing",
            hint=f"collect {len(proposal.members)} joins, one from each organisation that the proposal asks",
            missing=missing,
        )
    ordered = [answers[name] for name in sorted(answers)]
    _refuse_shared(ordered)
    genesis = Genesis(
        format=GENESIS_FORMAT,
        network=proposal.network,
        time_ms=proposal.time_ms,
        parameters=dict(sorted(proposal.parameters.items())),
        validators=[
            GenesisValidator(one.validator, proposal.member(one.organisation).power, one.organisation)
            for one in ordered
            if not proposal.member(one.organisation).observer
        ],
        organisations=[_organisation(proposal.member(one.organisation), one) for one in ordered],
        contracts=[GenesisContract(one.name, one.version, one.text) for one in contracts],
        engine="cometbft",
    )
    check_genesis(genesis)
    return genesis, Peers(
        FORMAT,
        proposal.network,
        genesis.hash.hex(),
        [entry_of(one, observer=proposal.member(one.organisation).observer) for one in ordered],
    )


def _organisation(member: ProposedMember, join: Join) -> GenesisOrganisation:
    return GenesisOrganisation(
        member.organisation,
        member.name,
        member.jurisdiction,
        sorted(set(member.permissions)),
        [
            GenesisParty(one.id, one.kind, one.name, one.key, sorted(set(one.permissions)))
            for one in sorted(join.parties, key=lambda one: one.id)
        ],
        "" if member.observer else member.member_class,
        "" if member.observer else member.affiliation,
    )


def _refuse_shared(joins: Sequence[Join]) -> None:
    owners: dict[str, str] = {}
    for join in joins:
        for what in (*join.keys, *(f"party {one.id}" for one in join.parties)):
            other = owners.setdefault(what, join.organisation)
            if other != join.organisation:
                raise _malformed(
                    f"{other} and {join.organisation} both name {what}",
                    "a party and a key belong to one organisation",
                )


def entry_of(join: Join, *, observer: bool) -> NodeEntry:
    """Where the node of ``join`` is reached."""
    node = engine_address(parse_key_text(join.node)).hex()
    return NodeEntry(join.organisation, node, join.p2p_address, join.api_url, observer)


def read_peers(data: bytes) -> Peers:
    """The list of nodes in ``data``. Raises GuildbookError ``network.malformed``."""
    peers = _read(data, Peers, "list of peers")
    _check_format(peers.format, "list of peers")
    for one in peers.nodes:
        if re.fullmatch(r"[0-9a-f]{40}", one.id) is None or not is_address(one.p2p_address):
            raise _malformed(
                f"the node of {one.organisation} is {one.id}@{one.p2p_address}",
                "an id has 40 digits; give host:port",
            )
    return peers


# form ----------------------------------------------------------------------------------------------------------------


def _read(data: bytes, kind: type[Document], what: str) -> Document:
    if len(data) > DOCUMENT_SIZE_BYTES_MAX:
        raise _malformed(f"the {what} has {len(data)} bytes", f"at most {DOCUMENT_SIZE_BYTES_MAX} are read")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(f"the {what} cannot be read: {error}", "ask its author for it again") from None


def _check_format(found: int, what: str) -> None:
    if found != FORMAT:
        raise _malformed(f"the {what} has format {found}", f"this software reads format {FORMAT}")


def _malformed(message: str, hint: str) -> GuildbookError:
    return GuildbookError("network.malformed", message, hint=hint)


def _mismatch(message: str, hint: str, **fields: object) -> GuildbookError:
    return GuildbookError("network.mismatch", message, hint=hint, **fields)


def _json(document: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"
