"""How the network is run: its members, the limits that all nodes apply alike, and which code decides its blocks.

Theory. Whatever decides a block must be the same on all nodes, so it is on the ledger: limits as *parameters*, and
contracts as *sources* with *releases*. A source is the whole text of a contract file under its SHA-256; it is read,
checked by the determinism gate and agreed on by that hash. A release says from which height a source runs as a
version of its contract. Releases only go forward: versions follow one another without gaps, each begins at a height
that has not come yet and after the one before it, and one that has begun cannot be withdrawn, because blocks were
decided by it.

Members are the organisations that run the network together; genesis names them. The permission
``governance:governor`` makes all changes here. A network of several members puts votes before it: that decision is a
contract of its own, which comes with networks of several validators, and will call the commands of this one.

All commands are made by a transaction itself, never through another contract.
"""

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Event,
    Height,
    Int,
    Positive,
    Record,
    Rejected,
    SourceText,
    Table,
    command,
    invariant,
    key,
    query,
    require,
    sha256,
)
from guildbook.runtime.parameters import BOUNDS, Parameter, Parameters
from guildbook.runtime.releases import Release, Source

TRANSACTION_SIZE = "transaction_size_bytes_max"
BLOCK_SIZE = "block_size_bytes_max"
ROOM_IN_BLOCK_BYTES = 1024
"""What a block needs beside one transaction of the greatest size."""


class Member(Record):
    """An organisation that runs the network together with the others."""

    organisation: Code = key()
    since: Height


class ParameterSet(Event):
    """A parameter has a new value from the next block on."""

    name: Code
    value: Int


class SourceRegistered(Event):
    """The text of a contract file is on the ledger."""

    contract: Code
    source: Digest


class ReleaseScheduled(Event):
    """A source will run as a version of its contract from a height on."""

    contract: Code
    version: Positive
    source: Digest
    active_from: Height


class ReleaseWithdrawn(Event):
    """A release that had not begun will not begin."""

    contract: Code
    version: Positive


class OnlyByTransaction(Rejected):
    """The network's rules are changed by a transaction itself, not through another contract."""

    caller: Code


class UnknownParameter(Rejected):
    """The network has no parameter of this name."""

    name: Code


class ParameterOutOfBounds(Rejected):
    """The parameter cannot have this value."""

    least: Int
    greatest: Int


class TransactionLargerThanBlock(Rejected):
    """A transaction of the greatest size would not fit into a block."""

    transaction_size_bytes_max: Int
    block_size_bytes_max: Int


class EmptySource(Rejected):
    """The source has no text."""


class SourceExists(Rejected):
    """This source is registered already."""

    source: Digest


class UnknownSource(Rejected):
    """No source with this hash is registered."""

    source: Digest


class SourceOfAnotherContract(Rejected):
    """The source was registered for another contract."""

    contract: Code


class NotTheNextVersion(Rejected):
    """Versions follow one another without gaps."""

    next: Positive


class TooEarly(Rejected):
    """A release begins at a height that has not come yet, and after the release before it."""

    earliest: Height


class UnknownRelease(Rejected):
    """The contract has no release of this version."""

    contract: Code
    version: Positive


class ReleaseActive(Rejected):
    """The release has begun, and blocks were decided by it; schedule a further version instead."""

    active_from: Height


class LaterReleaseExists(Rejected):
    """A later version is scheduled; withdraw that one first."""

    version: Positive


class Governance(Contract, name="governance", version=1):
    """Members, parameters, sources and releases."""

    members = Table(Member)
    parameters = Table(Parameter)
    sources = Table(Source)
    releases = Table(Release)
    events = (ParameterSet, SourceRegistered, ReleaseScheduled, ReleaseWithdrawn)
    rejections = (
        OnlyByTransaction,
        UnknownParameter,
        ParameterOutOfBounds,
        TransactionLargerThanBlock,
        EmptySource,
        SourceExists,
        UnknownSource,
        SourceOfAnotherContract,
        UnknownRelease,
        NotTheNextVersion,
        TooEarly,
        ReleaseActive,
        LaterReleaseExists,
    )

    @command(role="governor")
    def set_parameter(self, name: Code, value: Int) -> None:
        """Give a parameter a value, from the next block on."""
        self._require_direct()
        require(name in BOUNDS, UnknownParameter, name=name)
        least, greatest = BOUNDS[name]
        require(least <= value <= greatest, ParameterOutOfBounds, least=least, greatest=greatest)
        transaction = value if name == TRANSACTION_SIZE else self.parameter(TRANSACTION_SIZE)
        block = value if name == BLOCK_SIZE else self.parameter(BLOCK_SIZE)
        require(
            transaction + ROOM_IN_BLOCK_BYTES <= block,
            TransactionLargerThanBlock,
            transaction_size_bytes_max=transaction,
            block_size_bytes_max=block,
        )

        self._put_parameter(name, value)

        self.emit(ParameterSet(name=name, value=value))

    @command(role="governor")
    def register_source(self, contract: Code, text: SourceText) -> bytes:
        """Put the text of a contract file on the ledger; returns its SHA-256, 32 bytes.

        Registering runs nothing. Members read the text, check it with the determinism gate, and agree on the hash.
        """
        self._require_direct()
        require(text != "", EmptySource)
        source = sha256(text.encode())
        require(not self.sources.exists(source), SourceExists, source=source)

        self.sources.insert(Source(hash=source, contract=contract, text=text))

        self.emit(SourceRegistered(contract=contract, source=source))
        return source

    @command(role="governor")
    def schedule_release(
        self, contract: Code, version: Positive, source: Digest, active_from: Height
    ) -> None:
        """Let a registered source run as the next version of its contract from the height ``active_from`` on."""
        self._require_direct()
        registered = self.sources.get(source)
        if registered is None:
            raise UnknownSource(source=source)
        require(registered.contract == contract, SourceOfAnotherContract, contract=registered.contract)
        last = self._last_release(contract)
        following = 1 if last is None else last.version + 1
        require(version == following, NotTheNextVersion, next=following)
        earliest = self.height + 1 if last is None else max(self.height, last.active_from) + 1
        require(active_from >= earliest, TooEarly, earliest=earliest)

        self.releases.insert(
            Release(contract=contract, version=version, source=source, active_from=active_from)
        )

        self.emit(
            ReleaseScheduled(contract=contract, version=version, source=source, active_from=active_from)
        )

    @command(role="governor")
    def withdraw_release(self, contract: Code, version: Positive) -> None:
        """Take back the last release of a contract, as long as it has not begun."""
        self._require_direct()
        release = self.releases.get(contract, version)
        if release is None:
            raise UnknownRelease(contract=contract, version=version)
        require(release.active_from > self.height, ReleaseActive, active_from=release.active_from)
        last = self._last_release(contract)
        assert last is not None, "the release above is one of them"
        require(last.version == version, LaterReleaseExists, version=last.version)

        self.releases.delete(release)

        self.emit(ReleaseWithdrawn(contract=contract, version=version))

    @query
    def parameter(self, name: Code) -> int:
        """The value of a parameter, set or by default."""
        require(name in BOUNDS, UnknownParameter, name=name)
        row = self.parameters.get(name)
        defaults = Parameters()
        by_default = {
            TRANSACTION_SIZE: defaults.transaction_size_bytes_max,
            "calls_per_transaction_max": defaults.calls_per_transaction_max,
            "rows_touched_max": defaults.rows_touched_max,
            "events_max": defaults.events_max,
            "validity_blocks_max": defaults.validity_blocks_max,
            "block_transactions_max": defaults.block_transactions_max,
            BLOCK_SIZE: defaults.block_size_bytes_max,
        }
        return by_default[name] if row is None else row.value

    def found(
        self,
        members: list[str],
        parameters: list[tuple[str, int]],
        releases: list[tuple[str, int, bytes, str]],
    ) -> None:
        """Insert the founding rows: organisation ids, (name, value) of parameters, and the contracts that run from
        the first block as (contract, version, source hash, source text).
        """
        for organisation in members:
            self.members.insert(Member(organisation=organisation, since=self.height))
        for name, value in parameters:
            self._put_parameter(name, value)
        for contract, version, source, text in releases:
            assert sha256(text.encode()) == source, contract
            self.sources.insert(Source(hash=source, contract=contract, text=text))
            self.releases.insert(
                Release(contract=contract, version=version, source=source, active_from=self.height)
            )

    def _require_direct(self) -> None:
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)

    def _put_parameter(self, name: str, value: int) -> None:
        row = self.parameters.get(name)
        if row is None:
            self.parameters.insert(Parameter(name=name, value=value))
        else:
            self.parameters.update(row, value=value)

    def _last_release(self, contract: str) -> Release | None:
        return next(self.releases.find(contract, reverse=True), None)

    @invariant
    def releases_go_forward(self) -> None:
        """Each contract's versions follow one another at rising heights, and each has its source."""
        before: Release | None = None
        for release in self.releases.find():
            source = self.sources.get(release.source)
            assert source is not None, release.contract
            assert source.contract == release.contract, release.contract
            if before is not None and before.contract == release.contract:
                assert release.version == before.version + 1, release.contract
                assert release.active_from > before.active_from, release.contract
            before = release

    @invariant
    def sources_are_under_their_hash(self) -> None:
        """Each source is the text that its hash says."""
        for source in self.sources.find():
            assert sha256(source.text.encode()) == source.hash
