"""Messages: what came in from outside and what goes out, once, in order, and matched or left alone, never guessed.

Theory. A *channel* joins its *keeper* (a contract or an organisation) with somebody outside, for instance a fund with
its bank. The messages themselves stay outside the ledger: here is the digest of the bytes, and what was read out of
them.

**In.** A message comes in by a *deliverer*: a party that the keeper admitted to the channel, if it likes for one key
only. It is known by who sent it, its message id and its part; the same again returns the first number and changes
nothing, and another content under the same id is refused. What it says is a list of *items* (a booking, a status, a
return), each with the *identifiers* that it carries (``EndToEndId``, ``UETR``).

The keeper says which identifiers it *expects*, and for which *reference* of its own. An item is matched where the
identifiers it carries are expected for one reference, unmatched where none is, and quarantined where they disagree.
This depends on what came and what is expected, and not on the order in which it came:

    from          expected       they disagree, or the keeper says why   resolved by a person
    unmatched     matched        quarantined                             resolved
    matched       -              quarantined                             -
    quarantined   -              -                                       resolved
    resolved      -              -                                       -

A match says what an item is about and nothing about whether it is right: amounts and names are the keeper's to compare.

**Out.** An outbound message is a pure function of its row: kind, schema, reference and the *source*, named values in
order. Any node makes the same bytes from it. The row gets a number of its channel, without gaps, when it is queued; its
digest when it is produced, for good, so that other bytes are refused; and the acknowledgement of a deliverer:

    from        produce    acknowledge
    queued      produced   -
    produced    -          acknowledged

For one channel, kind and reference there is one outbound message: what is queued again with the same source is the
first, and with another source is refused.

**Who may do what.** Of a channel that a contract keeps, everything goes through calls by that contract, and the signer
must still be a deliverer to deliver. Of a channel that an organisation keeps, its parties with ``messages:operator``
act for it, and deliverers deliver directly. Deliverers may also produce and acknowledge, directly.
"""

import enum

from guildbook.contract import (
    Code,
    Contract,
    Digest,
    Event,
    Height,
    Name,
    NonNegative,
    Positive,
    PublicKeyBytes,
    Record,
    Rejected,
    Table,
    Text,
    Timestamp,
    command,
    digest_of,
    invariant,
    key,
    query,
    require,
    sha256,
)

ENTRIES_MAX = 200
"""Items of one part of a message; a longer message comes in parts."""
IDENTIFIERS_MAX = 8
"""Identifiers of one item."""
ITEMS_PER_IDENTIFIER_MAX = 100
"""Items of a channel that carry the same identifier; those that come later are quarantined."""
SOURCE_FIELDS_MAX = 200
"""Fields of the source of an outbound message."""
LISTED_MAX = 200
"""Rows that one query lists."""
PLACEHOLDERS = ("NOTPROVIDED", "NONREF")
"""What banks write where there is no identifier: it identifies nothing."""
DISAGREE = "identifiers disagree"
CROWDED = "too many items with one identifier"
CONFLICT = "another message has this id"


class Keeper(enum.StrEnum):
    """What keeps a channel."""

    ORGANISATION = "organisation"
    CONTRACT = "contract"


class ItemState(enum.StrEnum):
    """Whether it is known what an item is about."""

    UNMATCHED = "unmatched"
    MATCHED = "matched"
    QUARANTINED = "quarantined"
    RESOLVED = "resolved"


class OutboundState(enum.StrEnum):
    """The life of an outbound message."""

    QUEUED = "queued"
    PRODUCED = "produced"
    ACKNOWLEDGED = "acknowledged"


class Identifier(Record):
    """What an item is known by: a kind (``EndToEndId``, ``UETR``) and a value, as it stands in the message."""

    kind: Code
    value: Name


class Entry(Record):
    """What was read out of a message: what kind of item it is, and what it says.

    ``code`` is a status or reason code. ``account`` is a salted digest of the other side's account.
    """

    kind: Code
    identifiers: tuple[Identifier, ...]
    amount_minor: NonNegative | None = None
    currency: Code | None = None
    code: Code | None = None
    account: Digest | None = None
    valued_at: Timestamp | None = None


class SourceField(Record):
    """A named value that an outbound message is made from."""

    name: Code
    value: Text


class Channel(Record):
    """A way between a keeper and somebody outside; ``sent`` is the number of its last outbound message."""

    id: Code = key()
    keeper_kind: Keeper
    keeper: Code
    counterparty: Code
    open: bool
    sent: NonNegative
    opened_at: Timestamp


class Deliverer(Record):
    """A party that delivers on a channel; with ``public_key``, by that key only."""

    channel: Code = key()
    party: Code = key()
    public_key: PublicKeyBytes | None


class Message(Record):
    """A part of an inbound message; ``content`` is the digest of what was read out of it."""

    number: Positive = key()
    channel: Code
    schema: Code
    origin: Code
    message_id: Name
    part: Positive
    digest: Digest
    content: Digest
    items: NonNegative
    sequence: Positive | None
    created_at: Timestamp | None
    conflicts_with: Positive | None
    delivered_by: Code
    taken_at: Timestamp
    height: Height


class Identity(Record):
    """The message that was first known by an origin, id and part, as a digest of these."""

    channel: Code = key()
    identity: Digest = key()
    message: Positive


class Conflict(Record):
    """The message that stands for other content under an identity."""

    channel: Code = key()
    identity: Digest = key()
    digest: Digest = key()
    message: Positive


class InboundSequence(Record):
    """The message that has a number in the counterparty's own count."""

    channel: Code = key()
    sequence: Positive = key()
    message: Positive


class Item(Record):
    """An item of a message, what it is about (``reference``) and why it is not known."""

    message: Positive = key()
    position: Positive = key()
    channel: Code
    kind: Code
    identifiers: tuple[Identifier, ...]
    amount_minor: NonNegative | None
    currency: Code | None
    code: Code | None
    account: Digest | None
    valued_at: Timestamp | None
    state: ItemState
    reference: Code | None
    reason: Text
    resolution: Code | None
    resolved_by: Code | None


class Carried(Record):
    """That an item carries an identifier; ``value`` is a digest."""

    channel: Code = key()
    kind: Code = key()
    value: Digest = key()
    message: Positive = key()
    position: Positive = key()


class Expectation(Record):
    """Which reference of the keeper an identifier stands for; ``value`` is a digest."""

    channel: Code = key()
    kind: Code = key()
    value: Digest = key()
    reference: Code


class Outbound(Record):
    """An outbound message: what it is made from, and the digest of the bytes once they were made."""

    channel: Code = key()
    sequence: Positive = key()
    kind: Code
    schema: Code
    reference: Code
    source: tuple[SourceField, ...]
    state: OutboundState
    produced: Digest | None
    acknowledged_by: Code | None
    acknowledged_at: Timestamp | None
    queued_at: Timestamp
    height: Height


class ChannelOpened(Event):
    """A channel was opened."""

    channel: Code
    keeper: Code
    counterparty: Code


class ChannelClosed(Event):
    """A channel takes and sends nothing more."""

    channel: Code


class DelivererAdmitted(Event):
    """A party may deliver on a channel."""

    channel: Code
    party: Code


class DelivererDismissed(Event):
    """A party may no longer deliver on a channel."""

    channel: Code
    party: Code


class Taken(Event):
    """A message came in, with so many items matched and quarantined."""

    message: Positive
    channel: Code
    schema: Code
    digest: Digest
    items: NonNegative
    matched: NonNegative
    quarantined: NonNegative


class Conflicted(Event):
    """A message came in under the id of another with other content."""

    message: Positive
    conflicts_with: Positive


class Expected(Event):
    """An identifier stands for a reference; so many items that were there are matched by it, so many disagree now."""

    channel: Code
    kind: Code
    reference: Code
    matched: NonNegative
    quarantined: NonNegative


class Quarantined(Event):
    """It is not clear what an item is about, or whether it is right."""

    message: Positive
    position: Positive
    reason: Text


class Resolved(Event):
    """A person decided about an item."""

    message: Positive
    position: Positive
    resolution: Code
    reference: Code | None


class Queued(Event):
    """An outbound message has its number."""

    channel: Code
    sequence: Positive
    kind: Code
    reference: Code


class Produced(Event):
    """The bytes of an outbound message were made."""

    channel: Code
    sequence: Positive
    digest: Digest


class Acknowledged(Event):
    """An outbound message arrived."""

    channel: Code
    sequence: Positive


class UnknownChannel(Rejected):
    """No channel has this id."""

    channel: Code


class UnknownItem(Rejected):
    """No message has an item in this place."""

    number: Positive
    position: Positive


class UnknownOutbound(Rejected):
    """The channel has no outbound message of this number."""

    channel: Code
    sequence: Positive


class NotAnOperator(Rejected):
    """Only a contract, or a party with the permission messages:operator, opens a channel."""


class ChannelExists(Rejected):
    """A channel with this id exists; ids are never used again."""

    channel: Code


class NotTheKeeper(Rejected):
    """Only the keeper of the channel may do this: its contract, or its organisation (messages:operator)."""

    channel: Code


class NotADeliverer(Rejected):
    """The signer is not admitted to the channel, or not with this key."""

    channel: Code


class DelivererExists(Rejected):
    """The party delivers on the channel already; dismiss it first to change its key."""

    party: Code


class UnknownDeliverer(Rejected):
    """The party does not deliver on the channel."""

    party: Code


class MessageConflict(Rejected):
    """Another message has this origin, id and part; report the conflict, and have a person look at both."""

    earlier: Positive


class NoConflict(Rejected):
    """No message with other content has this origin, id and part; deliver it."""


class ChannelIsClosed(Rejected):
    """The channel takes and sends nothing more."""

    channel: Code


class TooManyEntries(Rejected):
    """The message has too many items; deliver it in parts."""

    most: Positive


class TooManyIdentifiers(Rejected):
    """An item carries too many identifiers."""

    most: Positive


class SequenceUsed(Rejected):
    """Another message has this number in the counterparty's count."""

    earlier: Positive


class Placeholder(Rejected):
    """The value stands for no identifier, so nothing can be expected under it."""

    value: Name


class IdentifierTaken(Rejected):
    """The identifier is expected for another reference; give each its own."""

    kind: Code
    reference: Code


class ItemSettled(Rejected):
    """The item is not in a state in which this can be done."""

    state: ItemState


class TooManyFields(Rejected):
    """The source of an outbound message has too many fields."""

    most: Positive


class ReferenceUsed(Rejected):
    """The channel has another outbound message of this kind for this reference."""

    reference: Code
    sequence: Positive


class BytesDiffer(Rejected):
    """The bytes of this message were made before, and were others; find out which node differs."""

    produced: Digest


class NotProduced(Rejected):
    """The bytes of this message were not made yet."""

    channel: Code
    sequence: Positive


def value_digest(value: str) -> bytes:
    """The digest under which the value of an identifier is looked up."""
    return sha256(value.encode("utf-8"))


def identity_of(origin: str, message_id: str, part: int) -> bytes:
    """The digest under which a part of an inbound message is known."""
    return digest_of("identity", origin, message_id, part)


def meant(identifiers: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    """The identifiers that identify something, each once."""
    kept = {(one.kind, one.value): one for one in identifiers if one.value not in PLACEHOLDERS}
    return tuple(kept.values())


class Messages(Contract, name="messages", version=1):
    """Channels, inbound messages and their items, expectations, outbound messages."""

    channels = Table(Channel)
    deliverers = Table(Deliverer)
    messages = Table(Message, index=[("channel", "number")])
    identities = Table(Identity)
    conflicts = Table(Conflict)
    inbound_sequences = Table(InboundSequence)
    items = Table(
        Item,
        index=[("channel", "state", "message", "position"), ("channel", "reference", "message", "position")],
    )
    carried = Table(Carried)
    expectations = Table(Expectation, index=[("channel", "reference", "kind", "value")])
    outbound = Table(
        Outbound, index=[("channel", "kind", "reference", "sequence"), ("channel", "state", "sequence")]
    )
    events = (
        ChannelOpened,
        ChannelClosed,
        DelivererAdmitted,
        DelivererDismissed,
        Taken,
        Conflicted,
        Expected,
        Quarantined,
        Resolved,
        Queued,
        Produced,
        Acknowledged,
    )
    rejections = (
        NotAnOperator,
        ChannelExists,
        UnknownItem,
        UnknownChannel,
        UnknownOutbound,
        NotTheKeeper,
        NotADeliverer,
        DelivererExists,
        UnknownDeliverer,
        MessageConflict,
        NoConflict,
        ReferenceUsed,
        IdentifierTaken,
        ChannelIsClosed,
        TooManyEntries,
        TooManyIdentifiers,
        SequenceUsed,
        Placeholder,
        ItemSettled,
        TooManyFields,
        NotProduced,
        BytesDiffer,
    )

    # channels

    @command
    def open_channel(self, channel: Code, counterparty: Code) -> None:
        """Open a channel with somebody outside, kept by the calling contract, or else by the signer's organisation."""
        require(self.caller != "" or self.has_role("operator"), NotAnOperator)
        require(not self.channels.exists(channel), ChannelExists, channel=channel)
        keeper = self.caller if self.caller else self.sender.organisation

        self.channels.insert(
            Channel(
                id=channel,
                keeper_kind=Keeper.CONTRACT if self.caller else Keeper.ORGANISATION,
                keeper=keeper,
                counterparty=counterparty,
                open=True,
                sent=0,
                opened_at=self.now,
            )
        )

        self.emit(ChannelOpened(channel=channel, keeper=keeper, counterparty=counterparty))

    @command
    def close_channel(self, channel: Code) -> None:
        """Take and send nothing more on a channel; what is there can still be resolved and acknowledged."""
        row = self._kept(channel)
        require(row.open, ChannelIsClosed, channel=channel)

        self.channels.update(row, open=False)

        self.emit(ChannelClosed(channel=channel))

    @command
    def admit(self, channel: Code, party: Code, public_key: PublicKeyBytes | None = None) -> None:
        """Let a party deliver on a channel, with ``public_key`` by that key only."""
        row = self._kept(channel)
        require(not self.deliverers.exists(channel, party), DelivererExists, party=party)
        require(row.open, ChannelIsClosed, channel=channel)

        self.deliverers.insert(Deliverer(channel=channel, party=party, public_key=public_key))

        self.emit(DelivererAdmitted(channel=channel, party=party))

    @command
    def dismiss(self, channel: Code, party: Code) -> None:
        """Let a party deliver on a channel no longer."""
        self._kept(channel)
        known = self.deliverers.get(channel, party)
        if known is None:
            raise UnknownDeliverer(party=party)

        self.deliverers.delete(known)

        self.emit(DelivererDismissed(channel=channel, party=party))

    # in

    @command
    def take(
        self,
        channel: Code,
        schema: Code,
        origin: Code,
        message_id: Name,
        digest: Digest,
        entries: tuple[Entry, ...],
        part: Positive = 1,
        sequence: Positive | None = None,
        created_at: Timestamp | None = None,
    ) -> int:
        """Take in a part of a message; returns its number.

        ``digest`` is that of the message's bytes, ``entries`` what was read out of them in order, ``sequence`` its
        number where the counterparty counts. The same message again returns the first number and changes nothing.
        """
        row = self._delivery(channel)
        identity, content = identity_of(origin, message_id, part), digest_of("entries", schema, entries)
        known = self.identities.get(channel, identity)
        if known is not None:
            first = self._message(known.message)
            require((first.digest, first.content) == (digest, content), MessageConflict, earlier=known.message)
            return known.message
        require(row.open, ChannelIsClosed, channel=channel)
        require(len(entries) <= ENTRIES_MAX, TooManyEntries, most=ENTRIES_MAX)
        for one in entries:
            require(len(one.identifiers) <= IDENTIFIERS_MAX, TooManyIdentifiers, most=IDENTIFIERS_MAX)
        if sequence is not None:
            counted = self.inbound_sequences.get(channel, sequence)
            if counted is not None:
                raise SequenceUsed(earlier=counted.message)

        number = self.sequence("messages")
        self.messages.insert(
            Message(
                number=number,
                channel=channel,
                schema=schema,
                origin=origin,
                message_id=message_id,
                part=part,
                digest=digest,
                content=content,
                items=len(entries),
                sequence=sequence,
                created_at=created_at,
                conflicts_with=None,
                delivered_by=self.sender.party,
                taken_at=self.now,
                height=self.height,
            )
        )
        self.identities.insert(Identity(channel=channel, identity=identity, message=number))
        if sequence is not None:
            self.inbound_sequences.insert(InboundSequence(channel=channel, sequence=sequence, message=number))
        states = [self._insert_item(channel, number, place, one) for place, one in enumerate(entries, 1)]

        self.emit(
            Taken(
                message=number,
                channel=channel,
                schema=schema,
                digest=digest,
                items=len(entries),
                matched=states.count(ItemState.MATCHED),
                quarantined=states.count(ItemState.QUARANTINED),
            )
        )
        return number

    @command
    def report_conflict(
        self, channel: Code, schema: Code, origin: Code, message_id: Name, digest: Digest, part: Positive = 1
    ) -> int:
        """Record that a message came whose id another with other content has; returns its number.

        It has one item, in quarantine, for a person to resolve. The same report again returns the first number.
        """
        row = self._delivery(channel)
        identity = identity_of(origin, message_id, part)
        known = self.identities.get(channel, identity)
        if known is None or self._message(known.message).digest == digest:
            raise NoConflict
        reported = self.conflicts.get(channel, identity, digest)
        if reported is not None:
            return reported.message
        require(row.open, ChannelIsClosed, channel=channel)

        number = self.sequence("messages")
        self.messages.insert(
            Message(
                number=number,
                channel=channel,
                schema=schema,
                origin=origin,
                message_id=message_id,
                part=part,
                digest=digest,
                content=digest_of("entries", schema, ()),
                items=1,
                sequence=None,
                created_at=None,
                conflicts_with=known.message,
                delivered_by=self.sender.party,
                taken_at=self.now,
                height=self.height,
            )
        )
        self.conflicts.insert(Conflict(channel=channel, identity=identity, digest=digest, message=number))
        self.items.insert(
            item_row(
                channel, number, 1, Entry(kind="conflict", identifiers=()), ItemState.QUARANTINED, None, CONFLICT
            )
        )

        self.emit(Conflicted(message=number, conflicts_with=known.message))
        return number

    @command
    def expect(self, channel: Code, kind: Code, value: Name, reference: Code) -> tuple[int, ...]:
        """Say that an identifier stands for ``reference``; returns the messages with items that carry it and are
        matched, in their order.

        Items that came before are matched now, or quarantined where they are matched to another reference. To expect
        the same once more changes nothing.
        """
        row = self._kept(channel)
        digest = value_digest(value)
        known = self.expectations.get(channel, kind, digest)
        if known is not None:
            require(known.reference == reference, IdentifierTaken, kind=kind, reference=known.reference)
            return self._matched(channel, kind, digest)
        require(row.open, ChannelIsClosed, channel=channel)
        require(value not in PLACEHOLDERS, Placeholder, value=value)

        self.expectations.insert(Expectation(channel=channel, kind=kind, value=digest, reference=reference))
        changed = self._judge_all_again(channel, kind, digest)

        self.emit(
            Expected(
                channel=channel,
                kind=kind,
                reference=reference,
                matched=changed.count(ItemState.MATCHED),
                quarantined=changed.count(ItemState.QUARANTINED),
            )
        )
        return self._matched(channel, kind, digest)

    @command
    def quarantine(self, message: Positive, position: Positive, reason: Text) -> None:
        """Set an item aside for a person to look at, for instance because an amount or a name differs."""
        row = self._kept_item(message, position)
        open_item = row.state is ItemState.UNMATCHED or row.state is ItemState.MATCHED
        require(open_item, ItemSettled, state=row.state)

        self.items.update(row, state=ItemState.QUARANTINED, reason=reason)

        self.emit(Quarantined(message=message, position=position, reason=reason))

    @command
    def resolve(
        self, message: Positive, position: Positive, resolution: Code, note: Text, reference: Code | None = None
    ) -> None:
        """Record what a person decided about an item that was not matched or is in quarantine.

        The signer is the person. ``reference`` is what the item is about, where that was found out.
        """
        row = self._kept_item(message, position)
        waits = row.state is ItemState.UNMATCHED or row.state is ItemState.QUARANTINED
        require(waits, ItemSettled, state=row.state)

        self.items.update(
            row,
            state=ItemState.RESOLVED,
            resolution=resolution,
            reference=reference,
            reason=note,
            resolved_by=self.sender.party,
        )

        self.emit(Resolved(message=message, position=position, resolution=resolution, reference=reference))

    # out

    @command
    def queue(
        self, channel: Code, kind: Code, schema: Code, reference: Code, source: tuple[SourceField, ...]
    ) -> int:
        """Queue an outbound message that is made from ``source``; returns its number on the channel.

        The same again returns the first number and changes nothing.
        """
        row = self._kept(channel)
        known = next(self.outbound.find(channel, kind, reference, limit=1), None)
        if known is not None:
            same = (known.schema, known.source) == (schema, source)
            require(same, ReferenceUsed, reference=reference, sequence=known.sequence)
            return known.sequence
        require(row.open, ChannelIsClosed, channel=channel)
        require(len(source) <= SOURCE_FIELDS_MAX, TooManyFields, most=SOURCE_FIELDS_MAX)

        number = self.channels.update(row, sent=row.sent + 1).sent
        self.outbound.insert(
            Outbound(
                channel=channel,
                sequence=number,
                kind=kind,
                schema=schema,
                reference=reference,
                source=source,
                state=OutboundState.QUEUED,
                produced=None,
                acknowledged_by=None,
                acknowledged_at=None,
                queued_at=self.now,
                height=self.height,
            )
        )

        self.emit(Queued(channel=channel, sequence=number, kind=kind, reference=reference))
        return number

    @command
    def produce(self, channel: Code, sequence: Positive, digest: Digest) -> None:
        """State the digest of the bytes that were made from an outbound message; by the keeper or a deliverer.

        It stays. Whoever makes other bytes is refused, and knows that a node differs.
        """
        row = self._channel(channel)
        sent = self._outbound(channel, sequence)
        if not self._keeps(row):
            self._require_deliverer(channel)
        if sent.produced is not None:
            require(sent.produced == digest, BytesDiffer, produced=sent.produced)
            return

        self.outbound.update(sent, state=OutboundState.PRODUCED, produced=digest)

        self.emit(Produced(channel=channel, sequence=sequence, digest=digest))

    @command
    def acknowledge(self, channel: Code, sequence: Positive, digest: Digest) -> None:
        """State that an outbound message arrived, with these bytes; by a deliverer. Once more changes nothing."""
        self._channel(channel)
        sent = self._outbound(channel, sequence)
        self._require_deliverer(channel)
        if sent.produced is None:
            raise NotProduced(channel=channel, sequence=sequence)
        require(sent.produced == digest, BytesDiffer, produced=sent.produced)
        if sent.state is OutboundState.ACKNOWLEDGED:
            return

        self.outbound.update(
            sent, state=OutboundState.ACKNOWLEDGED, acknowledged_by=self.sender.party, acknowledged_at=self.now
        )

        self.emit(Acknowledged(channel=channel, sequence=sequence))

    # reading

    @query
    def message(self, number: Positive) -> Message | None:
        """An inbound message, or None."""
        return self.messages.get(number)

    @query
    def items_of(self, message: Positive) -> tuple[Item, ...]:
        """The items of a message, in order."""
        return tuple(self.items.find(message, index=(), limit=ENTRIES_MAX))

    @query
    def items_about(self, channel: Code, reference: Code) -> tuple[Item, ...]:
        """The first 200 items that are about a reference, matched or resolved, in the order of their messages."""
        order = ("channel", "reference", "message", "position")
        found = self.items.find(channel, reference, index=order, limit=LISTED_MAX)
        return tuple([one for one in found if one.state is not ItemState.QUARANTINED])

    @query
    def waiting(
        self, channel: Code, state: ItemState = ItemState.UNMATCHED, limit: Positive = LISTED_MAX
    ) -> tuple[Item, ...]:
        """The first items in a state, by default those not matched, in the order of their messages; at most 200."""
        return tuple(self.items.find(channel, state, limit=min(limit, LISTED_MAX)))

    @query
    def gaps(self, channel: Code, after: NonNegative = 0, limit: Positive = LISTED_MAX) -> tuple[int, ...]:
        """Numbers of the counterparty's count that are missing behind ``after``, below the last that came; at most
        200.
        """
        missing: list[int] = []
        last, most = after, min(limit, LISTED_MAX)
        before = InboundSequence(channel=channel, sequence=max(after, 1), message=1) if after > 0 else None
        for one in self.inbound_sequences.find(channel, after=before):
            for step in range(min(one.sequence - last - 1, LISTED_MAX)):
                missing.append(last + 1 + step)
            if len(missing) >= most:
                break
            last = one.sequence
        return tuple(missing[:most])

    @query
    def outbound_of(self, channel: Code, sequence: Positive) -> Outbound | None:
        """An outbound message, or None."""
        return self.outbound.get(channel, sequence)

    @query
    def unsent(
        self, channel: Code, state: OutboundState = OutboundState.QUEUED, limit: Positive = LISTED_MAX
    ) -> tuple[int, ...]:
        """The first numbers of outbound messages in a state, by default those not produced yet; at most 200."""
        order = ("channel", "state", "sequence")
        found = self.outbound.find(channel, state, index=order, limit=min(limit, LISTED_MAX))
        return tuple([one.sequence for one in found])

    # who acts

    def _keeps(self, row: Channel) -> bool:
        if row.keeper_kind is Keeper.CONTRACT:
            return self.caller == row.keeper
        return not self.caller and self.sender.organisation == row.keeper and self.has_role("operator")

    # guards

    def _channel(self, channel: str) -> Channel:
        row = self.channels.get(channel)
        if row is None:
            raise UnknownChannel(channel=channel)
        return row

    def _kept(self, channel: str) -> Channel:
        """A channel that this call's maker keeps."""
        row = self._channel(channel)
        require(self._keeps(row), NotTheKeeper, channel=channel)
        return row

    def _delivery(self, channel: str) -> Channel:
        """A channel on which the signer delivers, through its contract where a contract keeps it."""
        row = self._channel(channel)
        through = row.keeper if row.keeper_kind is Keeper.CONTRACT else ""
        require(self.caller == through, NotTheKeeper, channel=channel)
        self._require_deliverer(channel)
        return row

    def _require_deliverer(self, channel: str) -> None:
        known = self.deliverers.get(channel, self.sender.party)
        admitted = known is not None and (known.public_key is None or known.public_key == self.sender.key)
        require(admitted, NotADeliverer, channel=channel)

    def _message(self, number: int) -> Message:
        row = self.messages.get(number)
        assert row is not None, "a message that another row names is there"
        return row

    def _item(self, message: int, position: int) -> Item:
        row = self.items.get(message, position)
        if row is None:
            raise UnknownItem(number=message, position=position)
        return row

    def _kept_item(self, message: int, position: int) -> Item:
        row = self._item(message, position)
        self._kept(row.channel)
        return row

    def _outbound(self, channel: str, sequence: int) -> Outbound:
        row = self.outbound.get(channel, sequence)
        if row is None:
            raise UnknownOutbound(channel=channel, sequence=sequence)
        return row

    # effects

    def _references(self, channel: str, identifiers: tuple[Identifier, ...]) -> list[str]:
        """The references for which identifiers are expected, each once."""
        found: dict[str, bool] = {}
        for one in meant(identifiers):
            expected = self.expectations.get(channel, one.kind, value_digest(one.value))
            if expected is not None:
                found[expected.reference] = True
        return list(found)

    def _insert_item(self, channel: str, message: int, position: int, entry: Entry) -> ItemState:
        crowded = False
        for one in meant(entry.identifiers):
            digest = value_digest(one.value)
            most = ITEMS_PER_IDENTIFIER_MAX
            if len(list(self.carried.find(channel, one.kind, digest, limit=most))) == most:
                crowded = True
            else:
                self.carried.insert(
                    Carried(channel=channel, kind=one.kind, value=digest, message=message, position=position)
                )
        references = self._references(channel, entry.identifiers)
        if crowded or len(references) > 1:
            state, reference, reason = ItemState.QUARANTINED, None, CROWDED if crowded else DISAGREE
        elif references:
            state, reference, reason = ItemState.MATCHED, references[0], ""
        else:
            state, reference, reason = ItemState.UNMATCHED, None, ""
        self.items.insert(item_row(channel, message, position, entry, state, reference, reason))
        return state

    def _judge_all_again(self, channel: str, kind: str, digest: bytes) -> list[ItemState | None]:
        """Look again at the items that carry an identifier; the state of each that changed."""
        found = list(self.carried.find(channel, kind, digest, limit=ITEMS_PER_IDENTIFIER_MAX))
        return [self._judge_again(self._item(one.message, one.position)) for one in found]

    def _judge_again(self, row: Item) -> ItemState | None:
        """Look again at an item since an identifier that it carries is expected; its state if that changed."""
        if row.state is not ItemState.UNMATCHED and row.state is not ItemState.MATCHED:
            return None
        references = self._references(row.channel, row.identifiers)
        if len(references) > 1:
            self.items.update(row, state=ItemState.QUARANTINED, reference=None, reason=DISAGREE)
            return ItemState.QUARANTINED
        self.items.update(row, state=ItemState.MATCHED, reference=references[0])
        return ItemState.MATCHED if row.state is ItemState.UNMATCHED else None

    def _matched(self, channel: str, kind: str, digest: bytes) -> tuple[int, ...]:
        """The messages with items that carry an identifier and are matched."""
        found: dict[int, bool] = {}
        for one in self.carried.find(channel, kind, digest, limit=ITEMS_PER_IDENTIFIER_MAX):
            if self._item(one.message, one.position).state is ItemState.MATCHED:
                found[one.message] = True
        return tuple(found)

    # laws

    @invariant
    def a_match_follows_from_what_came_and_what_is_expected(self) -> None:
        """An item that nobody set aside or resolved is in the state that its identifiers and the expectations give."""
        for row in self.items.find(index=()):
            references = self._references(row.channel, row.identifiers)
            if row.state is ItemState.UNMATCHED:
                assert references == [], row.message
                assert row.reference is None, row.message
            if row.state is ItemState.MATCHED:
                assert references == [row.reference], row.message
            assert (row.resolved_by is not None) == (row.state is ItemState.RESOLVED), row.message

    @invariant
    def every_item_belongs_to_its_message(self) -> None:
        """A message has the items that it counts, and is the one known by its identity, or in conflict with it."""
        counts: dict[int, int] = {}
        for row in self.items.find(index=()):
            counts[row.message] = counts.get(row.message, 0) + 1
        for one in self.messages.find(index=()):
            assert counts.get(one.number, 0) == one.items, one.number
            identity = self.identities.get(one.channel, identity_of(one.origin, one.message_id, one.part))
            assert identity is not None, one.number
            first = one.number if one.conflicts_with is None else one.conflicts_with
            assert identity.message == first, one.number

    @invariant
    def outbound_numbers_have_no_gap(self) -> None:
        """A channel's outbound messages are numbered from 1 to the last, one for each kind and reference."""
        counts: dict[str, int] = {}
        seen: dict[tuple[str, str, str], bool] = {}
        for row in self.outbound.find(index=()):
            counts[row.channel] = counts.get(row.channel, 0) + 1
            assert row.sequence == counts[row.channel], row.channel
            assert (row.channel, row.kind, row.reference) not in seen, row.reference
            seen[(row.channel, row.kind, row.reference)] = True
            assert (row.produced is None) == (row.state is OutboundState.QUEUED), row.sequence
            acknowledged = row.state is OutboundState.ACKNOWLEDGED
            assert (row.acknowledged_by is not None) == acknowledged, row.sequence
        for channel in self.channels.find():
            assert channel.sent == counts.get(channel.id, 0), channel.id


def item_row(
    channel: str,
    message: int,
    position: int,
    entry: Entry,
    state: ItemState,
    reference: str | None,
    reason: str,
) -> Item:
    """The row of an item that came in."""
    return Item(
        message=message,
        position=position,
        channel=channel,
        kind=entry.kind,
        identifiers=entry.identifiers,
        amount_minor=entry.amount_minor,
        currency=entry.currency,
        code=entry.code,
        account=entry.account,
        valued_at=entry.valued_at,
        state=state,
        reference=reference,
        reason=reason,
        resolution=None,
        resolved_by=None,
    )
