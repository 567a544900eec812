"""What members decide, as values: the actions that a decision consists of, and the rules by which it is made.

The contracts ``council`` (which decides) and ``governance`` (which acts) hand these to each other, so both must mean
the same classes, whether a node has a contract installed or has loaded its text from the ledger. Hence they are here,
below both, as are the rows of identities.
"""

import enum

from guildbook.runtime.freezes import FreezeScope
from guildbook.state.record import (
    Blob,
    Code,
    Digest,
    Height,
    Int,
    NonNegative,
    Positive,
    PublicKeyBytes,
    Record,
    Text,
    key,
)


class Decision(enum.StrEnum):
    """What a decision is about, from the least to the most: the rule of the most that it contains applies."""

    OPERATIONAL = "operational"
    MEMBERSHIP = "membership"
    ACTIVATION = "activation"
    CHARTER = "charter"


class ActionKind(enum.StrEnum):
    """What a decision does."""

    SET_PARAMETER = "set_parameter"
    WITHDRAW_RELEASE = "withdraw_release"
    APPOINT_WITNESS = "appoint_witness"
    RETIRE_WITNESS = "retire_witness"
    FREEZE = "freeze"
    RATIFY_FREEZE = "ratify_freeze"
    LIFT_FREEZE = "lift_freeze"
    ADMIT_MEMBER = "admit_member"
    CHANGE_MEMBER = "change_member"
    SUSPEND_MEMBER = "suspend_member"
    REINSTATE_MEMBER = "reinstate_member"
    REMOVE_MEMBER = "remove_member"
    ADD_VALIDATOR = "add_validator"
    SET_POWER = "set_power"
    REMOVE_VALIDATOR = "remove_validator"
    REPLACE_VALIDATOR = "replace_validator"
    GRANT_ROLE = "grant_role"
    WITHDRAW_ROLE = "withdraw_role"
    SCHEDULE_RELEASE = "schedule_release"
    SET_CHARTER = "set_charter"
    SET_RULE = "set_rule"


class Rule(Record):
    """How one kind of decision is made.

    Of the electorate (groups of affiliated members, each with one vote), ``quorum_numerator / quorum_denominator``
    must vote, and at least ``threshold_numerator / threshold_denominator``, and more than half, of those that did not
    abstain must say yes: silence is not consent. ``classes`` are the member classes that vote (none: all). With
    ``no_class_against``, more members of no class may say no than yes. Voting lasts ``voting_ms``; what passed can be
    executed after ``delay_ms`` more, for ``window_ms``. Expedited (``expedited_ms`` greater than 0), voting lasts that
    long, the expedited threshold applies, and there is no delay.
    """

    decision: Decision = key()
    quorum_numerator: NonNegative
    quorum_denominator: Positive
    threshold_numerator: Positive
    threshold_denominator: Positive
    classes: tuple[Code, ...]
    no_class_against: bool
    voting_ms: Positive
    delay_ms: NonNegative
    window_ms: Positive
    expedited_ms: NonNegative
    expedited_numerator: Positive
    expedited_denominator: Positive


class Action(Record):
    """One thing that a decision does; each kind uses the fields that ``governance.FIELDS`` names, and no others.

    ``name`` is a parameter, contract, permission, witness, or what is frozen; ``value`` a parameter's value, a voting
    power, a version, or a freeze order; ``digest`` a source or a charter's text; ``text`` a witness's key.
    """

    kind: ActionKind
    organisation: Code | None = None
    member_class: Code | None = None
    affiliation: Code | None = None
    name: Code | None = None
    value: Int | None = None
    height: Height | None = None
    digest: Digest | None = None
    public_key: PublicKeyBytes | None = None
    new_key: PublicKeyBytes | None = None
    proof: Blob | None = None
    text: Text | None = None
    scope: FreezeScope | None = None
    rule: tuple[Rule, ...] = ()
