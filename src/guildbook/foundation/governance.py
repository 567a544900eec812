"""How the network is run: its members, its validators, the limits that all nodes apply alike, and which code decides
its blocks.

Theory. Whatever decides a block must be the same on all nodes, so it is on the ledger: limits as *parameters*, and
contracts as *sources* with *releases*. A source is the whole text of a contract file under its SHA-256; it is read,
checked by the determinism gate and agreed on by that hash. A release says from which height a source runs as a
version of its contract. Releases only go forward: versions follow one another without gaps, each begins at a height
that has not come yet and after the one before it, and one that has begun cannot be withdrawn, because blocks were
decided by it.

Members are the organisations that run the network together; genesis names the first. A network of one member is
changed by that member's ``governance:governor`` directly. A network of several is changed by votes alone: the contract
``council`` decides, and lets this one act (``enact``). This contract is the register that the platform reads, and it
holds the guards without which a lawful decision could still stop the chain; how members come to a decision is not its
business, so that the one can be replaced without the other (docs/adr/0010-register-and-council.md).

Validators are keys with voting power, each run by a member. A change in block H signs from block H + 2 on. CometBFT
halts for ever on a set that is empty, names a key twice, removes a stranger or has too much power; so each of these is
refused here. Refused is also what would let a light client lose its way: in one block, with T the power before it,
``added + 2 * removed <= T`` must hold. Then whoever signs with more than two thirds of the new power has more than one
third of the old: of their power S > 2/3 (T + added - removed) at most ``added`` is new, and what is left exceeds T/3
exactly under that condition. A greater change is made in several blocks. A network of the solo engine has the one
validator of its genesis.

What a validator did against the rules comes from the engine with the block (``record_misbehaviour``). It is recorded,
and while the parameter ``misbehaviour_removes`` is 1, the validator is removed and its key barred, unless it is the
last one.

All commands are made by a transaction itself, but for ``enact`` and ``impose_freeze``, which the council alone calls.
"""

from guildbook.contract import (
    Blob,
    Code,
    Contract,
    Digest,
    Event,
    Height,
    Int,
    NonNegative,
    Positive,
    PublicKeyBytes,
    Record,
    Rejected,
    SourceText,
    Table,
    Text,
    Timestamp,
    command,
    invariant,
    is_acceptable_key,
    is_witness_key,
    key,
    proves_possession,
    query,
    require,
    sha256,
)
from guildbook.runtime.decisions import Action, ActionKind, Decision, Rule
from guildbook.runtime.freezes import GOVERNING, Freeze, FreezeScope
from guildbook.runtime.parameters import BOUNDS, Parameter, Parameters
from guildbook.runtime.releases import Release, Source
from guildbook.runtime.validators import Validator

COUNCIL = "council"
ENGINE = "engine"
SOLO = "solo"
STEP = "validators"
MEMBERS_MAX = 200
FREEZES_MAX = 64
VALIDATORS_MAX = 128
TOTAL_POWER_MAX = (2**63 - 1) // 8
"""The sum of all voting powers; CometBFT stops above it."""
RULE_MS_MAX = 366 * 24 * 3600 * 1000
ED25519 = 1
ADDRESS_SIZE_BYTES = 20
TRANSACTION_SIZE = "transaction_size_bytes_max"
BLOCK_SIZE = "block_size_bytes_max"
ROOM_IN_BLOCK_BYTES = 1024
"""What a block needs beside one transaction of the greatest size."""


MISBEHAVIOUR_REMOVES = "misbehaviour_removes"
DAY_MS = 24 * 3600 * 1000


def default_rule(decision: Decision) -> Rule:
    """The rule where the network has set none: one half, two thirds, and for the charter three quarters."""
    numerator, denominator = 2, 3
    if decision is Decision.OPERATIONAL:
        numerator, denominator = 1, 2
    if decision is Decision.CHARTER:
        numerator, denominator = 3, 4
    fast = decision is Decision.OPERATIONAL
    return Rule(
        decision=decision,
        quorum_numerator=numerator,
        quorum_denominator=denominator,
        threshold_numerator=numerator,
        threshold_denominator=denominator,
        classes=(),
        no_class_against=decision is Decision.CHARTER,
        voting_ms=(7 if fast else 14) * DAY_MS,
        delay_ms=(1 if fast else 3) * DAY_MS,
        window_ms=30 * DAY_MS,
        expedited_ms=0 if decision is Decision.CHARTER else DAY_MS,
        expedited_numerator=2 if fast else 3,
        expedited_denominator=3 if fast else 4,
    )


FIELDS = {
    ActionKind.SET_PARAMETER: ("name", "value"),
    ActionKind.WITHDRAW_RELEASE: ("name", "value"),
    ActionKind.APPOINT_WITNESS: ("name", "text"),
    ActionKind.RETIRE_WITNESS: ("name",),
    ActionKind.FREEZE: ("name", "scope"),
    ActionKind.RATIFY_FREEZE: ("value",),
    ActionKind.LIFT_FREEZE: ("value",),
    ActionKind.ADMIT_MEMBER: ("organisation", "member_class", "affiliation"),
    ActionKind.CHANGE_MEMBER: ("organisation", "member_class", "affiliation"),
    ActionKind.SUSPEND_MEMBER: ("organisation",),
    ActionKind.REINSTATE_MEMBER: ("organisation",),
    ActionKind.REMOVE_MEMBER: ("organisation",),
    ActionKind.ADD_VALIDATOR: ("organisation", "value", "public_key", "proof"),
    ActionKind.SET_POWER: ("value", "public_key"),
    ActionKind.REMOVE_VALIDATOR: ("public_key",),
    ActionKind.REPLACE_VALIDATOR: ("public_key", "new_key", "proof"),
    ActionKind.GRANT_ROLE: ("organisation", "name"),
    ActionKind.WITHDRAW_ROLE: ("organisation", "name"),
    ActionKind.SCHEDULE_RELEASE: ("name", "value", "height", "digest"),
    ActionKind.SET_CHARTER: ("digest",),
    ActionKind.SET_RULE: ("rule",),
}
"""The fields of each kind of action besides ``kind``."""
OPERATIONAL_KINDS = (
    ActionKind.SET_PARAMETER,
    ActionKind.WITHDRAW_RELEASE,
    ActionKind.APPOINT_WITNESS,
    ActionKind.RETIRE_WITNESS,
    ActionKind.FREEZE,
    ActionKind.RATIFY_FREEZE,
    ActionKind.LIFT_FREEZE,
)


DECISIONS = (Decision.OPERATIONAL, Decision.MEMBERSHIP, Decision.ACTIVATION, Decision.CHARTER)
"""The kinds of decision by weight."""


def decision_of(kind: ActionKind) -> Decision:
    """What a decision with this action is about at least."""
    if kind in OPERATIONAL_KINDS:
        return Decision.OPERATIONAL
    if kind is ActionKind.SCHEDULE_RELEASE:
        return Decision.ACTIVATION
    if kind is ActionKind.SET_CHARTER or kind is ActionKind.SET_RULE:
        return Decision.CHARTER
    return Decision.MEMBERSHIP


def given_fields(action: Action) -> tuple[str, ...]:
    """The names of the fields that an action has, besides its kind."""
    given = (
        ("organisation", action.organisation is not None),
        ("member_class", action.member_class is not None),
        ("affiliation", action.affiliation is not None),
        ("name", action.name is not None),
        ("value", action.value is not None),
        ("height", action.height is not None),
        ("digest", action.digest is not None),
        ("public_key", action.public_key is not None),
        ("new_key", action.new_key is not None),
        ("proof", action.proof is not None),
        ("text", action.text is not None),
        ("scope", action.scope is not None),
        ("rule", len(action.rule) == 1),
    )
    return tuple(name for name, there in given if there)


class Setting(Record):
    """What genesis fixed for good: ``engine`` is ``solo`` or ``cometbft``."""

    name: Code = key()
    value: Code


class Member(Record):
    """An organisation that runs the network together with the others.

    Members with the same ``affiliation`` (the organisation's own id, where it is affiliated with nobody) have one vote
    together; ``member_class`` is the class that it votes in.
    """

    organisation: Code = key()
    since: Height
    member_class: Code
    affiliation: Code


class ValidatorKey(Record):
    """A key that signs blocks or did, by its address in headers and commits; kept for good. Barred, it never signs
    again.
    """

    address: Blob = key()
    public_key: PublicKeyBytes
    organisation: Code
    barred: bool


class ValidatorStep(Record):
    """How much power the last block that changed validators has added and removed, and what there was before it."""

    name: Code = key()
    height: Height
    total_before: Positive
    added: NonNegative
    removed: NonNegative


class Misbehaviour(Record):
    """What a validator did against the rules, as the engine reported it in the block of ``height``.

    ``kind`` is 1 for two votes at one height and 2 for an attack on light clients. ``organisation`` ran the validator
    (None: the network knows no such validator); ``removed`` says whether it was removed for this.
    """

    height: Height = key()
    number: NonNegative = key()
    kind: Int
    address: Blob
    organisation: Code | None
    offence_height: Int
    offence_time: Int
    power: Int
    total_power: Int
    removed: bool


class Witness(Record):
    """Somebody from outside who cosigns the network's checkpoints; ``verifier_key`` in the C2SP text form."""

    name: Code = key()
    verifier_key: Text
    since: Height


class Charter(Record):
    """The text that the members have agreed on, by the SHA-256 of its bytes; the last version is in force."""

    version: Positive = key()
    digest: Digest
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


class MemberAdmitted(Event):
    """An organisation is a member."""

    organisation: Code
    member_class: Code
    affiliation: Code


class MemberChanged(Event):
    """A member votes in another class or with other affiliates."""

    organisation: Code
    member_class: Code
    affiliation: Code


class MemberRemoved(Event):
    """An organisation is no longer a member."""

    organisation: Code


class ValidatorChanged(Event):
    """A validator has a voting power from the block after the next on; 0: it is none any more."""

    public_key: PublicKeyBytes
    organisation: Code
    power: NonNegative


class MisbehaviourRecorded(Event):
    """The engine reported a validator that broke the rules."""

    kind: Int
    address: Blob
    organisation: Code | None
    offence_height: Int
    removed: bool


class FreezeImposed(Event):
    """From the next block on the network refuses what the freeze names; ``until`` None: until it is lifted."""

    scope: FreezeScope
    subject: Code
    order: NonNegative
    until: Timestamp | None


class FreezeLifted(Event):
    """A freeze no longer holds."""

    scope: FreezeScope
    subject: Code
    order: NonNegative


class WitnessAppointed(Event):
    """A witness cosigns the network's checkpoints."""

    name: Code
    verifier_key: Text


class WitnessRetired(Event):
    """A witness's signatures count no longer."""

    name: Code


class CharterAdopted(Event):
    """The network has a charter of this digest."""

    version: Positive
    digest: Digest


class RuleSet(Event):
    """Proposals made from now on are decided by this rule."""

    decision: Decision


class OnlyByTransaction(Rejected):
    """The network's rules are changed by a transaction itself, not through another contract."""

    caller: Code


class OnlyByCouncil(Rejected):
    """The members decide this by a vote; propose it in the council."""

    members: Int


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


class UnknownMember(Rejected):
    """The organisation is no member."""

    organisation: Code


class MemberExists(Rejected):
    """The organisation is a member already."""

    organisation: Code


class TooManyMembers(Rejected):
    """The network has as many members as it may have."""

    most: Positive


class LastMember(Rejected):
    """The network would have no member."""

    organisation: Code


class RunsValidators(Rejected):
    """The organisation runs validators; remove those first."""

    organisation: Code


class SoloNetwork(Rejected):
    """One process decides this network's blocks with the validator of its genesis; found a network of several."""


class KeyNotAcceptable(Rejected):
    """The bytes are no Ed25519 key, or one with which anybody can sign."""


class PossessionNotProven(Rejected):
    """The proof is no signature by the key over the network, ``validator/`` and the organisation, and the key."""


class ValidatorExists(Rejected):
    """The key is a validator already."""


class UnknownValidator(Rejected):
    """The key is no validator."""


class ValidatorKeyTaken(Rejected):
    """The key is barred for misbehaviour, or was another organisation's."""

    organisation: Code
    barred: bool


class TooManyValidators(Rejected):
    """The network has as many validators as it may have."""

    most: Positive


class LastValidator(Rejected):
    """The network would have no validator."""


class PowerOutOfBounds(Rejected):
    """The power is below 1, is what the validator has, or the powers would add up to too much."""

    most: Int


class TooMuchPowerAtOnce(Rejected):
    """In one block, power added and twice the power removed stay within the power before; do it in several steps."""

    added: NonNegative
    removed: NonNegative
    total: Positive


class NeverFrozen(Rejected):
    """Governance is never frozen, nor are identities as a whole."""

    subject: Code


class UnknownSubject(Rejected):
    """There is no such contract or command to freeze."""

    subject: Code


class TooManyFreezes(Rejected):
    """As many freezes hold as may hold at once."""

    most: Positive


class NotFrozen(Rejected):
    """No such freeze holds."""

    subject: Code


class WitnessExists(Rejected):
    """A witness of this name is appointed already."""

    name: Code


class UnknownWitness(Rejected):
    """No witness of this name is appointed."""

    name: Code


class NotAWitnessKey(Rejected):
    """The text is no C2SP verifier key of this name."""

    name: Code


class CharterInForce(Rejected):
    """The charter in force has this digest."""

    version: Positive


class RuleOutOfBounds(Rejected):
    """A quorum is at most all, a threshold between one half and all, a time bounded, a class one that members have."""

    decision: Decision


class WrongFields(Rejected):
    """The action lacks a field that its kind needs, or has one that its kind does not use."""

    kind: ActionKind
    needed: Text


class NotOfTheRegister(Rejected):
    """The council does this itself."""

    kind: ActionKind


def validator_address(public_key: bytes) -> bytes:
    """The address of a validator in headers and commits: the first 20 bytes of the SHA-256 of its raw key."""
    return sha256(public_key[1:])[:ADDRESS_SIZE_BYTES]


def is_majority(numerator: int, denominator: int) -> bool:
    """Whether a fraction is between one half and one, and small enough to be multiplied with."""
    return numerator <= denominator <= 2 * numerator and denominator <= RULE_MS_MAX


class Governance(Contract, name="governance", version=1):
    """Members, validators, parameters, sources, releases, and what else the platform reads about the network."""

    settings = Table(Setting)
    members = Table(Member, index=[("affiliation", "organisation")])
    parameters = Table(Parameter)
    sources = Table(Source)
    releases = Table(Release)
    validators = Table(Validator, index=[("organisation", "public_key")])
    validator_keys = Table(ValidatorKey)
    validator_steps = Table(ValidatorStep)
    misbehaviour = Table(Misbehaviour)
    freezes = Table(Freeze)
    witnesses = Table(Witness)
    charters = Table(Charter)
    rules = Table(Rule)
    events = (
        ParameterSet,
        SourceRegistered,
        ReleaseScheduled,
        ReleaseWithdrawn,
        MemberAdmitted,
        MemberChanged,
        MemberRemoved,
        ValidatorChanged,
        MisbehaviourRecorded,
        FreezeImposed,
        FreezeLifted,
        WitnessAppointed,
        WitnessRetired,
        CharterAdopted,
        RuleSet,
    )
    rejections = (
        OnlyByTransaction,
        OnlyByCouncil,
        WrongFields,
        NotOfTheRegister,
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
        SoloNetwork,
        UnknownMember,
        MemberExists,
        TooManyMembers,
        LastMember,
        RunsValidators,
        UnknownValidator,
        KeyNotAcceptable,
        ValidatorExists,
        ValidatorKeyTaken,
        PossessionNotProven,
        TooManyValidators,
        LastValidator,
        PowerOutOfBounds,
        TooMuchPowerAtOnce,
        NeverFrozen,
        UnknownSubject,
        TooManyFreezes,
        NotFrozen,
        WitnessExists,
        UnknownWitness,
        NotAWitnessKey,
        CharterInForce,
        RuleOutOfBounds,
    )

    # a governor, in a network of one member

    @command(role="governor")
    def set_parameter(self, name: Code, value: Int) -> None:
        """Give a parameter a value, from the next block on."""
        self._require_governor_decides()
        self._set_parameter(name, value)

    @command(role="governor")
    def register_source(self, contract: Code, text: SourceText) -> bytes:
        """Put the text of a contract file on the ledger; returns its SHA-256, 32 bytes.

        Registering runs nothing, so it needs no vote. Members read the text, check it with the determinism gate, and
        agree on the hash.
        """
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)
        return self._register_source(contract, text)

    @command(role="governor")
    def schedule_release(
        self, contract: Code, version: Positive, source: Digest, active_from: Height
    ) -> None:
        """Let a registered source run as the next version of its contract from the height ``active_from`` on."""
        self._require_governor_decides()
        self._schedule_release(contract, version, source, active_from)

    @command(role="governor")
    def withdraw_release(self, contract: Code, version: Positive) -> None:
        """Take back the last release of a contract, as long as it has not begun."""
        self._require_governor_decides()
        self._withdraw_release(contract, version)

    # the council, for the members

    @command(callers_only=True)
    def publish_source(self, contract: Code, text: SourceText) -> bytes:
        """As ``register_source``, for the council."""
        self._require_council()
        return self._register_source(contract, text)

    @command(callers_only=True)
    def enact(self, action: tuple[Action, ...]) -> None:
        """Do what the members have decided, in order and under the same guards as at any other time."""
        self._require_council()
        for one in action:
            self._enact(one)

    @command(callers_only=True)
    def impose_freeze(
        self, scope: FreezeScope, subject: Code, order: NonNegative, until: Timestamp | None
    ) -> None:
        """Freeze a subject from the next block on, until a time or until it is lifted; one that holds already then
        has the new order and end.
        """
        self._require_council()
        contract = subject.split(".")[0]
        if scope is FreezeScope.CONTRACT or scope is FreezeScope.COMMAND:
            require(contract not in GOVERNING and contract != "parties", NeverFrozen, subject=subject)
            known = self._last_release(contract) is not None
            dots = 1 if scope is FreezeScope.COMMAND else 0
            require(known and len(subject.split(".")) == dots + 1, UnknownSubject, subject=subject)
        self._impose(scope, subject, order, until)

    @command(callers_only=True)
    def lift_freeze(self, scope: FreezeScope, subject: Code) -> None:
        """Let a freeze hold no longer, from the next block on."""
        self._require_council()
        row = self.freezes.get(scope, subject)
        if row is None:
            raise NotFrozen(subject=subject)

        self.freezes.delete(row)

        self.emit(FreezeLifted(scope=scope, subject=subject, order=row.order))

    # reading

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
            MISBEHAVIOUR_REMOVES: defaults.misbehaviour_removes,
        }
        return by_default[name] if row is None else row.value

    @query
    def rule(self, decision: Decision) -> Rule:
        """How decisions of a kind are made, as set or by default."""
        row = self.rules.get(decision)
        return default_rule(decision) if row is None else row

    @query
    def weigh(self, actions: tuple[Action, ...]) -> Decision:
        """What kind of decision some actions are together: that of the weightiest. Refuses fields that do not fit."""
        weightiest = Decision.OPERATIONAL
        for one in actions:
            needed = FIELDS[one.kind]
            require(given_fields(one) == needed, WrongFields, kind=one.kind, needed=", ".join(needed))
            decision = decision_of(one.kind)
            if DECISIONS.index(decision) > DECISIONS.index(weightiest):
                weightiest = decision
        return weightiest

    @query
    def every_member(self) -> tuple[Member, ...]:
        """The members, by organisation."""
        return tuple(self.members.find(index=()))

    @query
    def member(self, organisation: Code) -> Member | None:
        """A member, or None where the organisation is none."""
        return self.members.get(organisation)

    @query
    def is_decided_by_vote(self, organisation: Code) -> bool:
        """Whether an organisation is one of several members, so that no party decides about it alone."""
        return self.members.exists(organisation) and self.member_count() > 1

    @query
    def member_count(self) -> int:
        """How many members the network has."""
        return len(list(self.members.find()))

    @query
    def freeze_of(self, scope: FreezeScope, subject: Code) -> Freeze | None:
        """The freeze of a subject that holds now, or None."""
        row = self.freezes.get(scope, subject)
        return row if row is not None and (row.until is None or self.now < row.until) else None

    @query
    def validator_power(self) -> int:
        """The sum of all voting powers."""
        return sum(row.power for row in self.validators.find(index=()))

    # the platform

    def found(
        self,
        members: list[tuple[str, str, str]],
        parameters: list[tuple[str, int]],
        releases: list[tuple[str, int, bytes, str]],
        validators: list[tuple[bytes, int, str]],
        engine: str,
    ) -> None:
        """Insert the founding rows: members as (organisation, class, affiliation), (name, value) of parameters, the
        contracts that run from the first block as (contract, version, source hash, source text), validators as
        (public key, power, organisation), and the engine that decides blocks.
        """
        self.settings.insert(Setting(name=ENGINE, value=engine))
        for organisation, member_class, affiliation in members:
            self.members.insert(
                Member(
                    organisation=organisation,
                    since=self.height,
                    member_class=member_class,
                    affiliation=affiliation,
                )
            )
        for name, value in parameters:
            self._put_parameter(name, value)
        for contract, version, source, text in releases:
            assert sha256(text.encode()) == source, contract
            self.sources.insert(Source(hash=source, contract=contract, text=text))
            self.releases.insert(
                Release(contract=contract, version=version, source=source, active_from=self.height)
            )
        for public_key, power, organisation in validators:
            self._insert_validator(public_key, power, organisation)

    def record_misbehaviour(
        self, number: int, kind: int, address: bytes, power: int, height: int, time: int, total_power: int
    ) -> None:
        """Record the report ``number`` (0 up) of this block, made by the engine: the ``kind`` of offence, the
        validator's address and power, height and time (milliseconds) of the offence, and the power of all then.
        """
        known = self.validator_keys.get(address)
        row = None if known is None else self.validators.get(known.public_key)
        removing = (
            known is not None
            and row is not None
            and self.parameter(MISBEHAVIOUR_REMOVES) == 1
            and len(list(self.validators.find(index=(), limit=2))) > 1
        )
        organisation = None if known is None else known.organisation
        if removing and row is not None and known is not None:
            self.validators.delete(row)
            self.validator_keys.update(known, barred=True)
            self.emit(
                ValidatorChanged(public_key=row.public_key, organisation=row.organisation, power=0)
            )
        self.misbehaviour.insert(
            Misbehaviour(
                height=self.height,
                number=number,
                kind=kind,
                address=address,
                organisation=organisation,
                offence_height=height,
                offence_time=time,
                power=power,
                total_power=total_power,
                removed=removing,
            )
        )
        self.emit(
            MisbehaviourRecorded(
                kind=kind,
                address=address,
                organisation=organisation,
                offence_height=height,
                removed=removing,
            )
        )

    # guards

    def _require_governor_decides(self) -> None:
        """The transaction itself calls, in a network where nobody else is to be asked."""
        if self.caller:
            raise OnlyByTransaction(caller=self.caller)
        members = self.member_count()
        require(members <= 1, OnlyByCouncil, members=members)

    def _require_council(self) -> None:
        if self.caller != COUNCIL:
            raise OnlyByCouncil(members=self.member_count())

    def _member(self, organisation: str) -> Member:
        row = self.members.get(organisation)
        if row is None:
            raise UnknownMember(organisation=organisation)
        return row

    def _validator(self, public_key: bytes) -> Validator:
        setting = self.settings.get(ENGINE)
        require(setting is not None and setting.value != SOLO, SoloNetwork)
        row = self.validators.get(public_key)
        if row is None:
            raise UnknownValidator
        return row

    def _require_power(self, power: int, before: int) -> None:
        """A power that one validator may have in place of ``before``."""
        rest = self.validator_power() - before
        inside = 1 <= power <= TOTAL_POWER_MAX - rest and power != before
        require(inside, PowerOutOfBounds, most=TOTAL_POWER_MAX - rest)

    def _step(self, added: int, removed: int) -> None:
        """Count a change of power against what one block may change."""
        row = self.validator_steps.get(STEP)
        if row is None:
            row = self.validator_steps.insert(
                ValidatorStep(
                    name=STEP, height=self.height, total_before=self.validator_power(), added=0, removed=0
                )
            )
        elif row.height != self.height:
            row = self.validator_steps.update(
                row, height=self.height, total_before=self.validator_power(), added=0, removed=0
            )
        row = self.validator_steps.update(row, added=row.added + added, removed=row.removed + removed)
        require(
            row.added + 2 * row.removed <= row.total_before,
            TooMuchPowerAtOnce,
            added=row.added,
            removed=row.removed,
            total=row.total_before,
        )

    # effects

    def _enact(self, action: Action) -> None:
        kind, needed = action.kind, FIELDS[action.kind]
        require(given_fields(action) == needed, WrongFields, kind=kind, needed=", ".join(needed))
        organisation, name, value = action.organisation or "", action.name or "", action.value or 0
        public_key, proof = action.public_key or b"", action.proof or b""
        if kind is ActionKind.SET_PARAMETER:
            self._set_parameter(name, value)
        elif kind is ActionKind.SCHEDULE_RELEASE:
            self._schedule_release(name, value, action.digest or b"", action.height or 0)
        elif kind is ActionKind.WITHDRAW_RELEASE:
            self._withdraw_release(name, value)
        elif kind is ActionKind.ADMIT_MEMBER:
            self._admit_member(organisation, action.member_class or "", action.affiliation or "")
        elif kind is ActionKind.CHANGE_MEMBER:
            self._change_member(organisation, action.member_class or "", action.affiliation or "")
        elif kind is ActionKind.REMOVE_MEMBER:
            self._remove_member(organisation)
        elif kind is ActionKind.ADD_VALIDATOR:
            self._add_validator(organisation, public_key, value, proof)
        elif kind is ActionKind.SET_POWER:
            self._set_power(public_key, value)
        elif kind is ActionKind.REMOVE_VALIDATOR:
            self._remove_validator(public_key)
        elif kind is ActionKind.REPLACE_VALIDATOR:
            self._replace_validator(public_key, action.new_key or b"", proof)
        elif kind is ActionKind.APPOINT_WITNESS:
            self._appoint_witness(name, action.text or "")
        elif kind is ActionKind.RETIRE_WITNESS:
            self._retire_witness(name)
        elif kind is ActionKind.SET_CHARTER:
            self._set_charter(action.digest or b"")
        elif kind is ActionKind.SET_RULE:
            self._set_rule(action.rule[0])
        else:
            raise NotOfTheRegister(kind=kind)

    def _set_parameter(self, name: str, value: int) -> None:
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

    def _put_parameter(self, name: str, value: int) -> None:
        row = self.parameters.get(name)
        if row is None:
            self.parameters.insert(Parameter(name=name, value=value))
        else:
            self.parameters.update(row, value=value)

    def _register_source(self, contract: str, text: str) -> bytes:
        require(text != "", EmptySource)
        source = sha256(text.encode())
        require(not self.sources.exists(source), SourceExists, source=source)

        self.sources.insert(Source(hash=source, contract=contract, text=text))

        self.emit(SourceRegistered(contract=contract, source=source))
        return source

    def _schedule_release(self, contract: str, version: int, source: bytes, active_from: int) -> None:
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

    def _withdraw_release(self, contract: str, version: int) -> None:
        release = self.releases.get(contract, version)
        if release is None:
            raise UnknownRelease(contract=contract, version=max(1, version))
        require(release.active_from > self.height, ReleaseActive, active_from=release.active_from)
        last = self._last_release(contract)
        assert last is not None, "the release above is one of them"
        require(last.version == version, LaterReleaseExists, version=last.version)

        self.releases.delete(release)

        self.emit(ReleaseWithdrawn(contract=contract, version=version))

    def _last_release(self, contract: str) -> Release | None:
        return next(self.releases.find(contract, reverse=True), None)

    def _admit_member(self, organisation: str, member_class: str, affiliation: str) -> None:
        require(not self.members.exists(organisation), MemberExists, organisation=organisation)
        require(self.member_count() < MEMBERS_MAX, TooManyMembers, most=MEMBERS_MAX)

        self.members.insert(
            Member(
                organisation=organisation,
                since=self.height,
                member_class=member_class,
                affiliation=affiliation,
            )
        )

        self.emit(
            MemberAdmitted(organisation=organisation, member_class=member_class, affiliation=affiliation)
        )

    def _change_member(self, organisation: str, member_class: str, affiliation: str) -> None:
        row = self._member(organisation)

        self.members.update(row, member_class=member_class, affiliation=affiliation)

        self.emit(
            MemberChanged(organisation=organisation, member_class=member_class, affiliation=affiliation)
        )

    def _remove_member(self, organisation: str) -> None:
        row = self._member(organisation)
        require(self.member_count() > 1, LastMember, organisation=organisation)
        runs = next(self.validators.find(organisation), None)
        require(runs is None, RunsValidators, organisation=organisation)

        self.members.delete(row)

        self.emit(MemberRemoved(organisation=organisation))

    def _require_new_validator(self, organisation: str, public_key: bytes, proof: bytes) -> None:
        require(is_acceptable_key(public_key) and public_key[0] == ED25519, KeyNotAcceptable)
        require(not self.validators.exists(public_key), ValidatorExists)
        known = self.validator_keys.get(validator_address(public_key))
        if known is not None:
            fit = known.organisation == organisation and not known.barred
            require(fit, ValidatorKeyTaken, organisation=known.organisation, barred=known.barred)
        owner = "validator/" + organisation
        require(proves_possession(self.network, owner, public_key, proof), PossessionNotProven)

    def _add_validator(self, organisation: str, public_key: bytes, power: int, proof: bytes) -> None:
        setting = self.settings.get(ENGINE)
        require(setting is not None and setting.value != SOLO, SoloNetwork)
        self._member(organisation)
        self._require_new_validator(organisation, public_key, proof)
        count = len(list(self.validators.find(index=())))
        require(count < VALIDATORS_MAX, TooManyValidators, most=VALIDATORS_MAX)
        self._require_power(power, 0)
        self._step(power, 0)

        self._insert_validator(public_key, power, organisation)

        self.emit(ValidatorChanged(public_key=public_key, organisation=organisation, power=power))

    def _set_power(self, public_key: bytes, power: int) -> None:
        row = self._validator(public_key)
        self._require_power(power, row.power)
        self._step(max(0, power - row.power), max(0, row.power - power))

        self.validators.update(row, power=power)

        self.emit(ValidatorChanged(public_key=public_key, organisation=row.organisation, power=power))

    def _remove_validator(self, public_key: bytes) -> None:
        row = self._validator(public_key)
        others = len(list(self.validators.find(index=(), limit=2))) > 1
        require(others, LastValidator)
        self._step(0, row.power)

        self.validators.delete(row)

        self.emit(ValidatorChanged(public_key=public_key, organisation=row.organisation, power=0))

    def _replace_validator(self, public_key: bytes, new_key: bytes, proof: bytes) -> None:
        row = self._validator(public_key)
        self._require_new_validator(row.organisation, new_key, proof)
        self._step(row.power, row.power)

        self.validators.delete(row)
        self._insert_validator(new_key, row.power, row.organisation)

        self.emit(ValidatorChanged(public_key=public_key, organisation=row.organisation, power=0))
        self.emit(ValidatorChanged(public_key=new_key, organisation=row.organisation, power=row.power))

    def _insert_validator(self, public_key: bytes, power: int, organisation: str) -> None:
        self.validators.insert(
            Validator(public_key=public_key, power=power, organisation=organisation, since=self.height)
        )
        address = validator_address(public_key)
        if not self.validator_keys.exists(address):
            self.validator_keys.insert(
                ValidatorKey(
                    address=address, public_key=public_key, organisation=organisation, barred=False
                )
            )

    def _impose(self, scope: FreezeScope, subject: str, order: int, until: int | None) -> None:
        for one in list(self.freezes.find()):
            if one.until is not None and one.until <= self.now:
                self.freezes.delete(one)
        row = self.freezes.get(scope, subject)
        if row is None:
            count = len(list(self.freezes.find()))
            require(count < FREEZES_MAX, TooManyFreezes, most=FREEZES_MAX)
            self.freezes.insert(Freeze(scope=scope, subject=subject, order=order, until=until))
        else:
            self.freezes.update(row, order=order, until=until)
        self.emit(FreezeImposed(scope=scope, subject=subject, order=order, until=until))

    def _appoint_witness(self, name: str, verifier_key: str) -> None:
        require(not self.witnesses.exists(name), WitnessExists, name=name)
        require(is_witness_key(name, verifier_key), NotAWitnessKey, name=name)

        self.witnesses.insert(Witness(name=name, verifier_key=verifier_key, since=self.height))

        self.emit(WitnessAppointed(name=name, verifier_key=verifier_key))

    def _retire_witness(self, name: str) -> None:
        row = self.witnesses.get(name)
        if row is None:
            raise UnknownWitness(name=name)

        self.witnesses.delete(row)

        self.emit(WitnessRetired(name=name))

    def _set_charter(self, digest: bytes) -> None:
        last = next(self.charters.find(reverse=True), None)
        version = 1 if last is None else last.version + 1
        if last is not None:
            require(last.digest != digest, CharterInForce, version=last.version)

        self.charters.insert(Charter(version=version, digest=digest, since=self.height))

        self.emit(CharterAdopted(version=version, digest=digest))

    def _set_rule(self, rule: Rule) -> None:
        known = [row.member_class for row in self.members.find(index=())]
        fits = (
            rule.quorum_numerator <= rule.quorum_denominator <= RULE_MS_MAX
            and is_majority(rule.threshold_numerator, rule.threshold_denominator)
            and is_majority(rule.expedited_numerator, rule.expedited_denominator)
            and max(rule.voting_ms, rule.delay_ms, rule.window_ms, rule.expedited_ms) <= RULE_MS_MAX
            and all(one in known for one in rule.classes)
        )
        require(fits, RuleOutOfBounds, decision=rule.decision)

        row = self.rules.get(rule.decision)
        if row is not None:
            self.rules.delete(row)
        self.rules.insert(rule)

        self.emit(RuleSet(decision=rule.decision))

    # laws

    @invariant
    def the_validators_can_sign(self) -> None:
        """There is a validator, each has power and a known key, and the powers add up to no more than the engine
        bears.
        """
        total = 0
        for row in self.validators.find(index=()):
            known = self.validator_keys.get(validator_address(row.public_key))
            assert known is not None, row.organisation
            assert known.organisation == row.organisation, row.organisation
            assert not known.barred, row.organisation
            total += row.power
        assert 1 <= total <= TOTAL_POWER_MAX

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
