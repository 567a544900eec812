"""An independent book of supervised funds, kept from signed calls and receipts alone.

Theory. The auditor never runs the contract and never reads its rows to form its own opinion. It reads what every
member can read in the blocks: who signed which call, whether it was applied, what it returned, and the events. For
each call it says *before* it looks whether the call is refused, and with which code; if not, what it returns and
exactly which events of ``funds`` it states. *After* a block it compares its whole book with the ledger's rows
(``compare``): lines with what is free, committed and paid, payees, entitlements, works, requests, files, what the bank
said and what waits. And it counts: over all lines of a programme, what is free, committed and paid is what was
appropriated (``check_sums``).

It keeps few sums. What an entitlement or works have given is added up from the requests whenever it is asked for, and
what came back from what the bank said; so a counter of the contract that drifts is found at the next block.

Any disagreement is a ``Difference``. Not foretold, and so not to be shown to it: programmes with a calendar of business
days, delegations and overrides of approvals, permits on documents.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from guildbook.chain.receipt import Outcome, Receipt
from guildbook.contract import digest_of
from guildbook_apps.funds import contract as rules
from guildbook_apps.funds.contract import Funds

Arguments = Mapping[str, Any]
Rows = Callable[[str], Iterable[Any]]
"""Gives the rows of a table, ``funds.requests`` for instance, to be compared with the auditor's book."""
FREE, COMMITTED, PAID = "free", "committed", "paid"
OPEN = ("submitted", "approved", "instructed", "accepted")
ON_ITS_WAY = ("instructed", "accepted")
GIVEN = ("settled", "confirmed")
ALIVE = ("open", "ready")
SILENT = ("NOTPROVIDED", "NONREF")


class Difference(Exception):
    """The ledger says one thing and the auditor's book another; the message has both and the place."""


class Refused(Exception):
    """What the book says of a call that must be refused: its code."""

    def __init__(self, code: str) -> None:
        self.code = code if "." in code else f"{Funds.contract_name}.{code}"
        super().__init__(self.code)


@dataclasses.dataclass(frozen=True)
class Signer:
    """Who signed: party, organisation, and its permissions (``funds:clerk``)."""

    party: str
    organisation: str
    permissions: frozenset[str]


@dataclasses.dataclass
class BookLine:
    """A line and its money."""

    programme: str
    parent: str | None
    organisation: str
    level: str
    purpose: str
    depth: int
    lapses_at: int
    status: str = "open"
    money: dict[str, int] = dataclasses.field(default_factory=lambda: {FREE: 0, COMMITTED: 0, PAID: 0})


@dataclasses.dataclass
class BookPayee:
    """A payee and who vouched for it."""

    programme: str
    identity: bytes
    account: bytes
    controller: str | None
    changed_by: str
    unblocked_by: str | None = None
    status: str = "enrolled"
    credential: bytes | None = None


@dataclasses.dataclass
class BookWorks:
    """The terms of works; what they have given follows from requests."""

    line: str
    payee: str
    document: bytes
    value: int
    advance: int
    per_mille: int


@dataclasses.dataclass
class BookRequest:
    """A request. ``said`` is what each kind of message said came back, by entry; ``booked`` that it was paid."""

    number: int
    programme: str
    kind: str
    payee: str
    account: bytes
    about: str
    gross: int
    recovered: int
    retained: int
    amount: int
    lines: list[str]
    parts: list[int]
    invoice: str | None
    evidence: bytes
    requester: str
    uetr: str
    submitted_at: int
    stage_at: int
    proposal: int = 0
    stage: str = "submitted"
    approved: bool = False
    regularise_by: int | None = None
    overdue: bool = False
    batch: str | None = None
    reason: str | None = None
    back: list[int] = dataclasses.field(default_factory=list)
    booked: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    said: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    first_word: tuple[str, str] | None = None
    confirmed: int = 0
    complaint: str | None = None

    @property
    def returned(self) -> int:
        """What came back."""
        return sum(self.back)

    @property
    def kept(self) -> int:
        """What it takes now."""
        return self.amount - self.returned if self.is_live else 0

    @property
    def is_live(self) -> bool:
        """Whether it takes anything."""
        return self.stage in OPEN or self.stage in GIVEN

    @property
    def needs_approval(self) -> bool:
        """Whether it was paid first and nobody approved."""
        return self.regularise_by is not None and not self.approved and self.is_live


@dataclasses.dataclass
class BookProposal:
    """A proposal in ``approvals``: its policy's stages for its amount, and who did what."""

    payload: bytes
    content: Any
    stages: list[list[Any]]
    direct: bool
    owner: str
    proposer: str
    expires_at: int
    acts: dict[str, tuple[str, str | None, str | None]]
    state: str = "open"
    given: int = 0

    def status(self, now: int) -> str:
        """Its state, with time counted."""
        return "expired" if self.state in ALIVE and now >= self.expires_at else self.state


@dataclasses.dataclass
class BookItem:
    """An item that the bank delivered."""

    message: int
    position: int
    programme: str
    kind: str
    names: dict[str, str]
    amount: int | None
    currency: str | None
    code: str | None
    account: bytes | None
    state: str = "unmatched"
    request: int | None = None
    why: str = ""

    def entry(self, *, by_person: bool) -> str:
        """The bank's own reference, as the contract keeps it."""
        own = self.names.get("AcctSvcrRef")
        if own is not None:
            return digest_of("funds.entry", own).hex()[:32]
        return f"item/{self.message}/{self.position}" if by_person else "none"


def check(holds: bool, *what: object) -> None:
    """Raise ``Difference`` with ``what`` unless ``holds``."""
    if not holds:
        raise Difference(" ".join(str(one) for one in what))


def need(holds: bool, code: str) -> None:
    """The call is refused with ``code`` unless ``holds``."""
    if not holds:
        raise Refused(code)


def divided(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``weights``, by the largest remainder, the first of equal ones first."""
    exact = [Fraction(total * weight, sum(weights)) for weight in weights]
    parts = [int(one) for one in exact]
    first = sorted(range(len(weights)), key=lambda place: (parts[place] - exact[place], place))
    for place in first[: total - sum(parts)]:
        parts[place] += 1
    return parts


class Auditor:
    """The book. Feed every transaction in block order with ``observe``; ask ``compare`` after a block."""

    def __init__(self, network: str, banks: Mapping[str, Sequence[str]]) -> None:
        """``banks`` are the parties of each bank, as ``parties`` registered them."""
        self.network = network
        self.banks = banks
        self.policies: dict[tuple[str, str], dict[str, Any]] = {}
        self.programmes: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, BookLine] = {}
        self.payees: dict[str, BookPayee] = {}
        self.entitlements: dict[tuple[str, str], tuple[str, int]] = {}
        self.works: dict[str, BookWorks] = {}
        self.requests: dict[int, BookRequest] = {}
        self.proposals: dict[int, BookProposal] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.invoices: dict[str, dict[str, Any]] = {}
        self.items: dict[tuple[int, int], BookItem] = {}
        self.messages: dict[int, tuple[str, str, int]] = {}
        """Number -> programme, kind, items."""
        self.recalls: dict[int, tuple[str, str, str | None]] = {}
        self.usages: dict[tuple[int, bytes], str] = {}
        self.findings: dict[int, dict[str, Any]] = {}
        self.transactions = 0
        self.refusals: dict[str, int] = {}
        self.seen_events: dict[str, int] = {}
        self.appropriated: dict[str, int] = {}
        self._accounts: dict[str, str] = {}
        self._deliverers: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str, int], tuple[Any, int]] = {}
        self._expected: dict[tuple[str, str, str], int] = {}
        self._references: dict[tuple[str, str], tuple[Any, int]] = {}
        self._movements: dict[tuple[str, str], int] = {}
        self._drafts: dict[tuple[str, str], dict[str, Any]] = {}
        self._lapses = 0
        self._said: list[tuple[str, tuple[Any, ...]]] = []
        self._now = 0
        self._signer = Signer("", "", frozenset())

    # Reading the ledger --------------------------------------------------------------------------------------

    def observe(self, now: int, signer: Signer, call: tuple[str, Arguments], receipt: Receipt) -> None:
        """Take in one transaction of one call: block time (milliseconds), signer, (``funds.submit``, named arguments),
        and its receipt.

        Raises ``Difference`` when the outcome, the result or an event is not what the book says.
        """
        self.transactions += 1
        name, arguments = call
        where = f"transaction {receipt.height}/{receipt.index} {name} {dict(arguments)} by {signer.party}"
        if receipt.outcome == Outcome.INVALID:
            return
        self._now, self._signer, self._said = now, signer, []
        code, result = "", None
        try:
            result = self._act(name, arguments)
        except Refused as refused:
            code = refused.code
        check(code == receipt.code, where, "ended with", receipt.code or "success", receipt.fields, "and the book says",
              code or "success")
        if code:
            self.refusals[code] = self.refusals.get(code, 0) + 1
            check(not receipt.events, where, "was refused and has events")
            return
        check(result == receipt.results[0], where, "returned", receipt.results[0], "and the book says", result)
        told = [(event, tuple(values)) for contract, event, values in receipt.events
                if contract == Funds.contract_name]
        check(told == self._said, where, "stated", told, "and the book says", self._said)
        for event, _values in told:
            self.seen_events[event] = self.seen_events.get(event, 0) + 1

    def _act(self, name: str, arguments: Arguments) -> Any:
        contract, _dot, command = name.partition(".")
        if contract == Funds.contract_name:
            role = Funds.commands[command].role
            need(role is None or f"{contract}:{role}" in self._signer.permissions, "call.not_permitted")
            return getattr(self, f"_{command}")(**arguments)
        return getattr(self, f"_{contract}_{command}")(**arguments)

    def _say(self, event: str, *values: Any) -> None:
        self._said.append((event, values))

    # Approvals -----------------------------------------------------------------------------------------------

    def _approvals_publish_policy(self, **terms: Any) -> int:
        self._drafts[self._signer.organisation, terms["policy"]] = terms
        return 1

    def _approvals_confirm_policy(self, owner: str | None = None, policy: str = "", version: int = 1) -> None:
        del owner, version
        organisation = self._signer.organisation
        self.policies[organisation, policy] = self._drafts.pop((organisation, policy))

    def _approvals_approve(self, proposal: int, stage: str, payload: bytes) -> bool:
        self._vote(proposal, stage, payload, "approval", None, direct=True)
        return self.proposals[proposal].state == "ready"

    def _approvals_reject(self, proposal: int, stage: str, payload: bytes, reason: str) -> None:
        self._vote(proposal, stage, payload, "rejection", reason, direct=True)

    def _policy(self, programme: str, policy: str) -> dict[str, Any]:
        """The terms of a policy of a programme's authority, for its currency."""
        owner = self.programmes[programme]
        terms = self.policies.get((owner["authority"], owner[policy]))
        need(terms is not None, "approvals.unknown_policy")
        assert terms is not None
        need(terms["currency"] == owner["currency"], "approvals.amount_differs")
        return terms

    def _propose(self, programme: str, policy: str, amount: int, payload: bytes, content: Any,
                 excluded: Iterable[str | None]) -> int:
        terms, owner = self._policy(programme, policy), self.programmes[programme]["authority"]
        stages = [one for one in terms["stages"] if one[5] <= amount and (one[6] is None or amount < one[6])]
        acts: dict[str, tuple[str, str | None, str | None]] = {self._signer.party: ("proposal", None, None)}
        for party in excluded:
            if party is not None:
                acts.setdefault(party, ("exclusion", None, None))
        number = len(self.proposals) + 1
        self.proposals[number] = BookProposal(payload, content, stages, terms["direct"], owner, self._signer.party,
                                              self._now + terms["life_ms"], acts)
        return number

    def _judge_vote(self, number: int, stage: str, payload: bytes, kind: str, reason: str | None, *,
                    direct: bool) -> bool:
        """Whether a vote is new; refused where it may not be given."""
        row = self.proposals.get(number)
        need(row is not None, "approvals.unknown_proposal")
        assert row is not None
        need(row.direct or not direct, "approvals.only_through_contract")
        party = self._signer.party
        if row.acts.get(party) == (kind, stage, reason) and payload == row.payload:
            return False
        need(row.state == "open", "approvals.wrong_state")
        need(self._now < row.expires_at, "approvals.time_over")
        need(payload == row.payload, "approvals.payload_differs")
        current = row.stages[0]
        need(current[0] == stage, "approvals.not_the_stage")
        need(party != row.proposer, "approvals.proposer_never_approves")
        need(party not in row.acts, "approvals.has_part")
        need(current[1] in self._signer.permissions, "approvals.permission_missing")
        need(current[3] != "owners" or self._signer.organisation == row.owner, "approvals.organisation_not_seated")
        return True

    def _would_be_ready(self, row: BookProposal) -> bool:
        return len(row.stages) == 1 and row.given + 1 == row.stages[0][2]

    def _vote(self, number: int, stage: str, payload: bytes, kind: str, reason: str | None, *, direct: bool) -> None:
        if not self._judge_vote(number, stage, payload, kind, reason, direct=direct):
            return
        row = self.proposals[number]
        row.acts[self._signer.party] = (kind, stage, reason)
        if kind == "rejection":
            row.state = "rejected"
        elif self._would_be_ready(row):
            row.state = "ready"
        elif row.given + 1 == row.stages[0][2]:
            row.stages, row.given = row.stages[1:], 0
        else:
            row.given += 1

    def _judge_take(self, number: int, payload: bytes) -> None:
        row = self.proposals.get(number)
        need(row is not None, "approvals.unknown_proposal")
        assert row is not None
        need(row.state == "ready", "approvals.wrong_state")
        need(self._now < row.expires_at, "approvals.time_over")
        need(row.payload == payload, "approvals.payload_differs")
        need(self._signer.party != row.proposer, "approvals.proposer_never_approves")
        part = row.acts.get(self._signer.party)
        need(part is None or part[0] not in ("exclusion", "recusal"), "approvals.has_part")

    def _take(self, number: int) -> None:
        row = self.proposals[number]
        row.state = "taken"
        row.acts.setdefault(self._signer.party, ("execution", None, None))

    # The budget ----------------------------------------------------------------------------------------------

    def _register_programme(self, programme: str, root: str, purpose: str, level: str, lapses_at: int,
                            **terms: Any) -> None:
        need(len(programme) <= rules.ID_CHARS_MAX, "too_long")
        need(programme not in self.programmes, "id_taken")
        authority, source = self._signer.organisation, f"funds/{programme}/source"
        need(source not in self._accounts, "money.account_exists")
        self._judge_new_line(root, also=source)
        self._accounts[source] = programme
        self.programmes[programme] = {**terms, "authority": authority, "root": root}
        self.appropriated[programme] = 0
        self._say("programme_registered", programme, authority, terms["bank"], terms["currency"])
        self._new_line(root, BookLine(programme, None, authority, level, purpose, 0, lapses_at))

    def _judge_new_line(self, line: str, also: str = "") -> None:
        need(len(line) <= rules.ID_CHARS_MAX, "too_long")
        need(line not in self.lines, "id_taken")
        for name in _accounts_of(line):
            need(name not in self._accounts and name != also, "money.account_exists")

    def _new_line(self, line: str, row: BookLine) -> None:
        for name in _accounts_of(line):
            self._accounts[name] = line
        self.lines[line] = row
        self._say("line_opened", line, row.programme, row.parent, row.organisation, row.purpose)

    def _admit_deliverer(self, programme: str, party: str, public_key: bytes | None) -> None:
        del public_key
        row = self._programme(programme)
        self._of(row["authority"])
        need(party in self.banks.get(row["bank"], ()), "not_yours")
        need((programme, party) not in self._deliverers, "messages.deliverer_exists")
        self._deliverers.add((programme, party))

    def _dismiss_deliverer(self, programme: str, party: str) -> None:
        self._of(self._programme(programme)["authority"])
        need((programme, party) in self._deliverers, "messages.unknown_deliverer")
        self._deliverers.discard((programme, party))

    def _open_line(self, line: str, parent: str, organisation: str, level: str, purpose: str, lapses_at: int) -> None:
        above = self._line(parent)
        need(above.depth + 1 < rules.LINES_DEEP_MAX, "not_in_range")
        self._of(above.organisation)
        need(self._now < lapses_at <= above.lapses_at, "not_in_range")
        self._judge_new_line(line)
        self._new_line(line, BookLine(above.programme, parent, organisation, level, purpose, above.depth + 1,
                                      lapses_at))

    def _judge_movement(self, kind: str, source: str | None, target: str, amount: int) -> str:
        """The programme of a movement that may be made."""
        need(amount <= rules.MONEY_MINOR_MAX, "not_in_range")
        into = self._line(target)
        out = None if source is None else self._line(source)
        authority = self.programmes[into.programme]["authority"]
        need(out is None or out.programme == into.programme, "other_programme")
        down, up = into.parent == source, out is not None and out.parent == target
        if out is None:
            owner, fits = authority, kind == "appropriate" and into.parent is None
        elif kind == "allocate":
            owner, fits = out.organisation, down
        elif kind == "withdraw":
            owner, fits = into.organisation, up
        else:
            owner, fits = authority, kind == "reappropriate" and not (down or up or source == target)
        self._of(owner)
        need(fits, "wrong_direction")
        if kind != "withdraw" and source is not None:
            self._judge_open(source)
        self._judge_open(target)
        need(self._now < into.lapses_at, "line_lapsed")
        return into.programme

    def _propose_movement(self, reference: str, kind: str, source: str | None, target: str, amount_minor: int,
                          basis: bytes) -> int:
        programme = self._judge_movement(kind, source, target, amount_minor)
        payload = digest_of("funds.movement", kind, source, target, amount_minor, basis)
        content = (programme, payload)
        known = self._movements.get((self._signer.party, reference))
        if known is not None:
            need(self.proposals[known].content == content, "approvals.reference_used")
            return known
        number = self._propose(programme, "budget_policy", amount_minor, payload, content, ())
        self._movements[self._signer.party, reference] = number
        return number

    def _move(self, proposal: int, kind: str, source: str | None, target: str, amount_minor: int,
              basis: bytes) -> None:
        programme = self._judge_movement(kind, source, target, amount_minor)
        need(source is None or amount_minor <= self.lines[source].money[FREE], "over_allocation")
        self._judge_take(proposal, digest_of("funds.movement", kind, source, target, amount_minor, basis))
        self._take(proposal)
        if source is None:
            self.appropriated[programme] += amount_minor
        else:
            self.lines[source].money[FREE] -= amount_minor
        self.lines[target].money[FREE] += amount_minor
        self._say("moved", kind, source, target, amount_minor, basis)

    def _lapse(self, line: str) -> int:
        row = self._line(line)
        free = row.money[FREE]
        need(row.parent is not None and self._now >= row.lapses_at and free > 0, "not_lapsed")
        assert row.parent is not None
        row.money[FREE] = 0
        self.lines[row.parent].money[FREE] += free
        self._say("lapsed", line, row.parent, free)
        return free

    def _set_line_status(self, line: str, status: str, reason: str) -> None:
        row = self._line(line)
        self._of(self.programmes[row.programme]["supervisor"])
        need(status != row.status, "no_change")
        row.status = status
        self._say("line_changed", line, status, reason)

    # Payees --------------------------------------------------------------------------------------------------

    def _enrol(self, payee: str, programme: str, identity: bytes, account: bytes, controller: str | None) -> None:
        self._programme(programme)
        need(payee not in self.payees, "id_taken")
        need(all((one.programme, one.identity) != (programme, identity) for one in self.payees.values()),
             "identity_enrolled")
        self.payees[payee] = BookPayee(programme, identity, account, controller, self._signer.party)
        self._tell(payee)
        self._tell_shared(payee)

    def _tell(self, payee: str) -> None:
        row = self.payees[payee]
        self._say("payee_changed", payee, row.programme, row.status, row.account)

    def _tell_shared(self, payee: str) -> None:
        mine = self.payees[payee]
        alike = sorted(name for name, one in self.payees.items()
                       if (one.programme, one.account) == (mine.programme, mine.account) and name != payee)
        if alike:
            self._say("account_shared", payee, alike[0])

    def _change_account(self, payee: str, account: bytes) -> None:
        row = self._payee(payee)
        need(account != row.account, "no_change")
        row.account, row.status, row.changed_by = account, "enrolled", self._signer.party
        self._tell(payee)
        self._tell_shared(payee)

    def _verify(self, payee: str, account: bytes, credential: bytes) -> None:
        row = self._payee(payee)
        need(self._signer.party not in (row.changed_by, row.unblocked_by), "same_person")
        need((row.status, row.account) == ("enrolled", account), "no_change")
        row.status, row.credential = "verified", credential
        self._tell(payee)

    def _block(self, payee: str) -> None:
        row = self._payee(payee)
        need(row.status != "blocked", "no_change")
        row.status = "blocked"
        self._tell(payee)

    def _unblock(self, payee: str) -> None:
        row = self._payee(payee)
        need(row.status == "blocked", "no_change")
        row.status, row.unblocked_by = "enrolled", self._signer.party
        self._tell(payee)

    def _entitle(self, payee: str, cycle: str, purpose: str, granted_minor: int) -> None:
        self._payee(payee)
        need(granted_minor <= rules.MONEY_MINOR_MAX, "not_in_range")
        known = self.entitlements.get((payee, cycle))
        need(known is None or known[0] == purpose, "purpose_differs")
        need(granted_minor >= self.taken(payee, cycle), "not_in_range")
        self.entitlements[payee, cycle] = (purpose, granted_minor)
        self._say("entitled", payee, cycle, granted_minor)

    def _register_works(self, works: str, line: str, payee: str, document: bytes, value_minor: int,
                        advance_minor: int, retention_per_mille: int) -> None:
        need(value_minor <= rules.MONEY_MINOR_MAX, "not_in_range")
        need(advance_minor <= value_minor, "not_in_range")
        need(retention_per_mille < 1_000, "not_in_range")
        row, who = self._line(line), self._payee(payee)
        need(works not in self.works, "id_taken")
        self._of(row.organisation)
        need(who.programme == row.programme, "other_programme")
        self.works[works] = BookWorks(line, payee, document, value_minor, advance_minor, retention_per_mille)
        self._say("works_registered", works, line, payee, value_minor)

    # Requests ------------------------------------------------------------------------------------------------

    def _register_invoice(self, invoice: str, payee: str, digest: bytes, face_minor: int,
                          fingerprints: Sequence[Any]) -> None:
        row = self._payee(payee)
        need(face_minor <= rules.MONEY_MINOR_MAX, "not_in_range")
        made = {"payee": payee, "digest": digest, "face": face_minor,
                "currency": self.programmes[row.programme]["currency"],
                "prints": [tuple(one) for one in fingerprints]}
        known = self.invoices.get(invoice)
        if known is not None:
            need(known == made, "documents.document_exists")
            return
        taken = [one for other in self.invoices.values() for one in other["prints"]]
        need(not any(one in taken for one in made["prints"]), "documents.fingerprint_taken")
        self.invoices[invoice] = made

    def taken(self, payee: str, cycle: str) -> int:
        """What the live requests of a benefit take."""
        return sum(one.kept for one in self.requests.values()
                   if (one.kind, one.payee, one.about) == ("benefit", payee, cycle))

    def given(self, works: str) -> dict[str, int]:
        """What works have given, added up from their requests."""
        mine = [one for one in self.requests.values() if one.about == works and one.kind != "benefit" and one.is_live]
        claims = [one for one in mine if one.kind == "claim"]
        advances = [one for one in mine if one.kind == "advance"]
        return {
            "advancing": sum(one.kept for one in advances if one.stage in OPEN),
            "advanced": sum(one.kept for one in advances if one.stage in GIVEN),
            "claimed": sum(one.gross - one.returned for one in claims),
            "recovered": sum(one.recovered for one in claims), "retained": sum(one.retained for one in claims),
            "released": sum(one.kept for one in mine if one.kind == "retention"),
        }

    def used(self, invoice: str) -> int:
        """What live requests take of an invoice."""
        return sum(one.gross - one.returned for one in self.requests.values() if one.invoice == invoice and one.is_live)

    def _judge_request(self, kind: str, payee: str, about: str, gross_minor: int, shares: Sequence[Any],
                       evidence: bytes, invoice: str | None) -> BookRequest:
        """The request that a submission would make."""
        need(0 < len(shares) <= rules.SHARES_MAX, "too_long")
        need(gross_minor <= rules.MONEY_MINOR_MAX, "not_in_range")
        need(all(weight <= rules.MONEY_MINOR_MAX for _line, weight in shares), "not_in_range")
        lines = [self._line(name) for name, _weight in shares]
        names = [name for name, _weight in shares]
        need(len(set(names)) == len(names), "id_taken")
        who, first = self._payee(payee), lines[0]
        entitlement, works = self.entitlements.get((payee, about)), self.works.get(about)
        if kind == "benefit":
            need(entitlement is not None, "unknown_id")
        else:
            need(works is not None and (works.payee, works.line) == (payee, names[0]), "unknown_id")
        self._of(first.organisation)
        for name, line in zip(names, lines, strict=True):
            need(line.programme == who.programme, "other_programme")
            self._judge_open(name)
            need(self._now < line.lapses_at, "line_lapsed")
        need(who.status == "verified", "payee_not_verified")
        recovered = retained = 0
        if kind == "benefit":
            assert entitlement is not None
            need(entitlement[0] == first.purpose, "purpose_differs")
            left = entitlement[1] - self.taken(payee, about)
        else:
            assert works is not None
            given = self.given(about)
            if kind == "advance":
                left = works.advance - given["advanced"] - given["advancing"]
            elif kind == "retention":
                owed = max(given["recovered"] - given["advanced"], 0)
                left = given["retained"] + owed - given["released"]
            else:
                left = works.value - given["claimed"]
                claimed = given["claimed"] + gross_minor
                should = Fraction(claimed * given["advanced"], works.value)
                recovered = min(gross_minor, max(0, int(should) - given["recovered"]))
                should = Fraction(claimed * works.per_mille, 1_000)
                retained = min(gross_minor - recovered, max(0, int(should) - given["retained"]))
        need(gross_minor <= left, "over_entitlement")
        amount = gross_minor - recovered - retained
        need(amount > 0, "nothing_to_pay")
        known = None if invoice is None else self.invoices.get(invoice)
        need(known is None or known["currency"] == self.programmes[who.programme]["currency"], "currency_differs")
        number = len(self.requests) + 1
        uetr = uuid.UUID(bytes=digest_of("funds.uetr", self.network, number)[:16], version=4)
        return BookRequest(number, who.programme, kind, payee, who.account, about, gross_minor, recovered, retained,
                           amount, names, divided(amount, [weight for _line, weight in shares]), invoice, evidence,
                           self._signer.party, str(uetr), self._now, self._now)

    def _judge_invoice(self, row: BookRequest) -> None:
        if row.invoice is not None:
            known = self.invoices.get(row.invoice)
            need(known is not None, "documents.unknown_document")
            assert known is not None
            need(row.gross <= known["face"] - self.used(row.invoice), "documents.over_capacity")

    def payload(self, row: BookRequest) -> bytes:
        """What approvers of a request approve."""
        parts = tuple(zip(row.lines, row.parts, strict=True))
        return digest_of("funds.request", self.network, row.number, row.kind, row.payee, row.account, row.about,
                         row.gross, row.recovered, row.retained, row.amount, parts, row.invoice, row.evidence)

    def _open_proposal(self, row: BookRequest) -> None:
        payload = self.payload(row)
        releaser = None if row.batch is None else self.batches[row.batch]["by"]
        others = (self.payees[row.payee].controller, row.requester, releaser)
        row.proposal = self._propose(row.programme, "request_policy", row.amount, payload, None, others)
        self._say("submitted", row.number, row.proposal, payload, row.payee, row.kind, row.gross, row.amount)

    def _enter(self, reference: str, content: Any, terms: Arguments, *, first: bool) -> int:
        known = self._references.get((self._signer.party, reference))
        if known is not None:
            need(known[0] == content, "reference_used")
            return known[1]
        row = self._judge_request(**terms)
        limits = self.programmes[row.programme]
        need(not first or row.amount <= limits["pay_first_minor"], "over_pay_first")
        self._judge_invoice(row)
        self._policy(row.programme, "request_policy")
        if first:
            self._judge_commitment(row)
        row.back = [0] * len(row.parts)
        self.requests[row.number] = row
        self._open_proposal(row)
        if first:
            row.regularise_by = self._now + limits["regularise_ms"]
            self._commit_money(row)
            self._say("paid_first", row.number, self._signer.party, row.regularise_by)
        self._references[self._signer.party, reference] = (content, row.number)
        return row.number

    def _submit(self, reference: str, **terms: Any) -> int:
        return self._enter(reference, ("submit", terms), terms, first=False)

    def _pay_first(self, reference: str, **terms: Any) -> int:
        return self._enter(reference, ("pay_first", terms), terms, first=True)

    def _propose_again(self, request: int) -> int:
        row = self._request(request)
        waits = self.proposals[row.proposal].status(self._now) in ALIVE
        need(row.needs_approval and not waits, "wrong_stage")
        self._of_unit(row)
        need(row.batch is None or self.batches[row.batch]["by"] != self._signer.party, "had_part")
        self._open_proposal(row)
        return row.proposal

    def _approve(self, request: int, stage: str, payload: bytes, acting_for: str | None) -> bool:
        check(acting_for is None, "delegations are not foretold")
        row = self._request(request)
        proposal = self.proposals[row.proposal]
        new = self._judge_vote(row.proposal, stage, payload, "approval", None, direct=False)
        if not new or not self._would_be_ready(proposal):
            self._vote(row.proposal, stage, payload, "approval", None, direct=False)
            return row.approved
        if row.stage == "submitted":
            self._judge_commitment(row)
        self._vote(row.proposal, stage, payload, "approval", None, direct=False)
        self._take(row.proposal)
        row.approved = True
        if row.stage == "submitted":
            self._commit_money(row)
        else:
            row.overdue = False
            self._say("regularised", request)
        return True

    def _commit(self, request: int) -> None:
        row = self._request(request)
        need(not row.approved, "wrong_stage")
        self._judge_take(row.proposal, self.payload(row))
        check(False, "a request's policy lets nobody approve past the contract")

    def _reject(self, request: int, stage: str, payload: bytes, reason: str, acting_for: str | None) -> None:
        check(acting_for is None, "delegations are not foretold")
        row = self._request(request)
        self._vote(row.proposal, stage, payload, "rejection", reason, direct=False)
        if row.stage == "submitted":
            self._end(row, "rejected", reason)
        elif row.needs_approval and not row.overdue:
            row.overdue = True
            self._say("overdue", request)

    def _cancel(self, request: int, reason: str) -> None:
        row = self._request(request)
        proposal = self.proposals[row.proposal]
        alive = proposal.status(self._now) in ALIVE
        if alive or row.stage != "submitted":
            self._of_unit(row)
        need(row.stage in ("submitted", "approved"), "wrong_stage")
        if alive:
            proposal.state = "cancelled"
        self._end(row, "cancelled", reason)

    def _mark_overdue(self, request: int) -> None:
        row = self._request(request)
        late = row.regularise_by is not None and self._now >= row.regularise_by
        need(late and row.needs_approval and not row.overdue, "not_overdue")
        row.overdue = True
        self._say("overdue", request)

    def _judge_commitment(self, row: BookRequest) -> None:
        for name, part in zip(row.lines, row.parts, strict=True):
            self._judge_open(name)
            need(self._now < self.lines[name].lapses_at, "line_lapsed")
            need(part <= self.lines[name].money[FREE], "over_allocation")

    def _commit_money(self, row: BookRequest) -> None:
        self._shift(row, FREE, COMMITTED)
        self._reach(row, "approved", None)

    def _shift(self, row: BookRequest, source: str, target: str, parts: Sequence[int] | None = None) -> None:
        for name, part in zip(row.lines, row.parts if parts is None else parts, strict=True):
            money = self.lines[name].money
            money[source] -= part
            money[target] += part
            check(money[source] >= 0, name, "would have", money[source], source)

    def _reach(self, row: BookRequest, stage: str, reason: str | None) -> None:
        row.stage, row.reason, row.stage_at = stage, reason, self._now
        self._say("stage_changed", row.number, stage, reason)

    def _end(self, row: BookRequest, stage: str, reason: str) -> None:
        if row.stage in OPEN[1:]:
            self._shift(row, COMMITTED, FREE)
        proposal = self.proposals[row.proposal]
        if row.needs_approval and proposal.status(self._now) in ALIVE:
            proposal.state = "cancelled"
        row.overdue = False
        self._reach(row, stage, reason)

    # Paying --------------------------------------------------------------------------------------------------

    def _release(self, batch: str, programme: str, requests: Sequence[int], execution_day: int, file: bytes) -> int:
        need(0 < len(requests) <= rules.BATCH_REQUESTS_MAX, "too_long")
        terms = self._programme(programme)
        need(batch not in self.batches, "id_taken")
        self._of(terms["authority"])
        today = self._now // rules.DAY_MS
        need(today <= execution_day <= today + rules.EXECUTION_DAYS_MAX, "not_executed")
        party = self._signer.party
        for place, number in enumerate(requests):
            row = self._request(number)
            need(row.programme == programme, "other_programme")
            for line in row.lines:
                self._judge_open(line)
            payee = self.payees[row.payee]
            need(payee.status == "verified", "payee_not_verified")
            need(payee.account == row.account, "account_changed")
            need(row.stage == "approved" and number not in requests[:place], "wrong_stage")
            need(party not in self.proposals[row.proposal].acts and party != row.requester, "had_part")
        total = 0
        for number in requests:
            row = self.requests[number]
            proposal = self.proposals[row.proposal]
            if not row.approved and proposal.status(self._now) in ALIVE:
                proposal.acts[party] = ("recusal", None, "released")
            total += row.amount
            row.batch = batch
            self._expect(programme, "EndToEndId", f"F{number}", number)
            self._expect(programme, "UETR", row.uetr, number)
            self._reach(row, "instructed", None)
        self.batches[batch] = {"programme": programme, "requests": tuple(requests), "sum": total, "by": party,
                               "file": file, "day": execution_day}
        self._say("released", batch, programme, len(requests), total, execution_day, file)
        return total

    def _expect(self, programme: str, kind: str, value: str, request: int) -> None:
        self._expected[programme, kind, value] = request
        for item in self.items.values():
            if item.programme == programme and item.names.get(kind) == value and item.state in ("unmatched", "matched"):
                item.state = "quarantined"
                if len(self._meant(item)) > 1:
                    item.request, item.why = None, "identifiers disagree"
                else:
                    item.request, item.why = request, "stage"

    def _meant(self, item: BookItem) -> list[int]:
        found = [self._expected.get((item.programme, kind, value)) for kind, value in item.names.items()
                 if value not in SILENT]
        return sorted({one for one in found if one is not None})

    def _deliver(self, programme: str, schema: str, message_id: str, digest: bytes, entries: Sequence[Any],
                 part: int) -> int:
        terms = self._programme(programme)
        need((programme, self._signer.party) in self._deliverers, "messages.not_a_deliverer")
        content = (schema, digest, [_plain(one) for one in entries])
        known = self._known.get((programme, message_id, part))
        if known is not None:
            need(known[0] == content, "messages.message_conflict")
            return 0
        need(len(entries) <= 200, "messages.too_many_entries")
        number = len(self.messages) + 1
        self._known[programme, message_id, part] = (content, number)
        self.messages[number] = (programme, schema[:8], len(entries))
        mine = []
        for place, (kind, names, amount, currency, code, account, _valued) in enumerate(entries, 1):
            item = BookItem(number, place, programme, kind, dict(names), amount, currency,
                            code, account)
            meant = self._meant(item)
            if len(meant) > 1:
                item.state, item.why = "quarantined", "identifiers disagree"
            elif meant:
                item.state, item.request = "matched", meant[0]
            self.items[number, place] = item
            mine.append(item)
        waiting = 0
        for item in mine:
            if item.state == "matched":
                assert item.request is not None
                row = self.requests[item.request]
                why = self._strange(terms, row, item)
                if not why:
                    why, effect = self._word(row, schema[:8], item, by_person=False)
                    effect()
                if why:
                    item.state, item.why = "quarantined", why
            waiting += item.state != "matched"
        return waiting

    def _strange(self, terms: Arguments, row: BookRequest, item: BookItem) -> str:
        if item.currency not in (None, terms["currency"]):
            return "currency"
        if item.account not in (None, row.account):
            return "account"
        if item.kind == "BOOK" and item.amount != row.amount:
            return "amount"
        return "amount" if item.kind == "RTRN" and not 0 < (item.amount or 0) <= row.amount else ""

    def _word(self, row: BookRequest, kind: str, item: BookItem, *,
              by_person: bool) -> tuple[str, Callable[[], None]]:
        """Why an item contradicts the book, or nothing; and what it does."""
        on_its_way, entry = row.stage in ON_ITS_WAY, item.entry(by_person=by_person)
        if item.kind == "BOOK":
            told = row.booked.get(kind, [])
            if entry in told:
                return "", _nothing
            if told or not (on_its_way or row.first_word is not None):
                return "stage", _nothing
            return "", lambda: self._book(row, kind, entry)
        if item.kind == "RTRN":
            if row.stage not in (*GIVEN, "returned"):
                return "stage", _nothing
            said = row.said.get(kind, {})
            if entry in said:
                return ("repeated" if entry == "none" else "" if said[entry] == item.amount else "amount"), _nothing
            if sum(said.values()) + (item.amount or 0) > row.amount:
                return "amount", _nothing
            return "", lambda: self._take_back(row, kind, entry, item)
        if item.kind == "RJCT":
            if on_its_way and item.code in ("AM05", "DUPL") and not by_person:
                return "duplicate", _nothing
            if on_its_way:
                return "", lambda: self._fail(row, item.code)
            return ("" if row.stage == "failed" else "stage"), _nothing
        if kind == "camt.029":
            return self._answer(row, item, by_person=by_person)
        good = item.kind in ("ACCP", "ACSP", "ACTC", "ACWC", "ACSC", "ACCC", "ACFC", "PATC")
        if good and row.stage == "instructed":
            return "", lambda: self._reach(row, "accepted", item.code)
        return ("stage" if good and row.stage == "failed" else ""), _nothing

    def _answer(self, row: BookRequest, item: BookItem, *, by_person: bool) -> tuple[str, Callable[[], None]]:
        if row.number not in self.recalls:
            return "stage", _nothing
        undone = item.kind == "CNCL" and row.stage in ON_ITS_WAY

        def note() -> None:
            reason, party, _before = self.recalls[row.number]
            self.recalls[row.number] = (reason, party, item.kind)
            if undone and by_person:
                self._end(row, "failed", "CNCL")

        return ("stage" if undone and not by_person else ""), note

    def _book(self, row: BookRequest, kind: str, entry: str) -> None:
        row.booked.setdefault(kind, []).append(entry)
        if row.stage in ON_ITS_WAY:
            self._shift(row, COMMITTED, PAID)
            row.first_word = (kind, entry)
            self._reach(row, "settled", None)

    def _fail(self, row: BookRequest, code: str | None) -> None:
        self._end(row, "failed", code or "RJCT")
        self._doubt(row, code)

    def _doubt(self, row: BookRequest, code: str | None) -> None:
        payee = self.payees[row.payee]
        if code is not None and code[:2] == "AC" and code in rules.WRONG_ACCOUNT and \
                (payee.account, payee.status) == (row.account, "verified"):
            payee.status = "enrolled"
            self._tell(row.payee)

    def _take_back(self, row: BookRequest, kind: str, entry: str, item: BookItem) -> None:
        assert item.amount is not None
        row.said.setdefault(kind, {})[entry] = item.amount
        more = max(sum(said.values()) for said in row.said.values()) - row.returned
        if more <= 0:
            return
        parts = divided(more, [part - back for part, back in zip(row.parts, row.back, strict=True)])
        self._shift(row, PAID, FREE, parts)
        row.back = [before + part for before, part in zip(row.back, parts, strict=True)]
        self._doubt(row, item.code)
        self._say("money_returned", row.number, more, item.code)
        if row.returned == row.amount:
            row.overdue = False
            self._reach(row, "returned", item.code)

    def _resolve(self, message: int, position: int, resolution: str, note: str, request: int | None) -> None:
        del resolution
        known = self.messages.get(message)
        need(known is not None, "unknown_number")
        assert known is not None
        programme, kind, count = known
        terms = self.programmes[programme]
        self._of(terms["authority"])
        effect = _nothing
        if request is not None:
            need(position <= count, "unknown_number")
            row, item = self._request(request), self.items[message, position]
            need(row.programme == programme, "other_programme")
            need(row.requester != self._signer.party, "same_person")
            why = self._strange(terms, row, item)
            if why in ("", "account"):
                why, effect = self._word(row, kind, item, by_person=True)
            need(not why, "still_mismatched")
        need((message, position) in self.items, "messages.unknown_item")
        item = self.items[message, position]
        need(item.state in ("unmatched", "quarantined"), "messages.item_settled")
        effect()
        item.state, item.request, item.why = "resolved", request, note

    def _recall(self, request: int, reason: str, file: bytes) -> None:
        del file
        row = self._request(request)
        self._of(self.programmes[row.programme]["authority"])
        need(row.stage in (*ON_ITS_WAY, *GIVEN), "wrong_stage")
        need(request not in self.recalls, "already_resolved")
        self.recalls[request] = (reason, self._signer.party, None)
        self._say("recall_asked", request, reason)

    # What came of it -----------------------------------------------------------------------------------------

    def _confirm_receipt(self, request: int, confirmed_minor: int, complaint: str | None) -> None:
        row = self._request(request)
        need(self.payees[row.payee].controller == self._signer.party, "not_yours")
        self._confirm(row, confirmed_minor, complaint)

    def _witness_receipt(self, request: int, confirmed_minor: int, complaint: str | None) -> None:
        row = self._request(request)
        need(self.payees[row.payee].controller is None, "not_yours")
        party = self._signer.party
        released = row.batch is not None and self.batches[row.batch]["by"] == party
        need(party not in self.proposals[row.proposal].acts and not released, "had_part")
        self._confirm(row, confirmed_minor, complaint)

    def _confirm(self, row: BookRequest, confirmed: int, complaint: str | None) -> None:
        need(row.requester != self._signer.party, "same_person")
        need(row.stage == "settled", "wrong_stage")
        need(confirmed <= row.amount, "more_than_paid")
        row.confirmed, row.complaint = confirmed, complaint
        self._reach(row, "confirmed", None)
        self._say("receipt_confirmed", row.number, confirmed, complaint)

    def _attach_usage(self, request: int, kind: str, evidence: bytes) -> None:
        row = self._request(request)
        self._of_unit(row)
        need(row.stage in GIVEN, "wrong_stage")
        need((request, evidence) not in self.usages, "no_change")
        self.usages[request, evidence] = kind
        self._say("usage_attached", request, kind, evidence)

    def _raise_finding(self, request: int, severity: str, statement: bytes) -> int:
        row = self._request(request)
        need(row.requester != self._signer.party, "same_person")
        number = len(self.findings) + 1
        self.findings[number] = {"request": request, "severity": severity, "statement": statement,
                                 "by": self._signer.party, "closed_by": None}
        self._say("finding_raised", number, request, severity)
        return number

    def _close_finding(self, finding: int, answer: bytes) -> None:
        del answer
        need(finding in self.findings, "unknown_number")
        row = self.findings[finding]
        need(row["by"] != self._signer.party, "same_person")
        need(row["closed_by"] is None, "already_resolved")
        row["closed_by"] = self._signer.party
        self._say("finding_closed", finding)

    # Guards --------------------------------------------------------------------------------------------------

    def _programme(self, programme: str) -> dict[str, Any]:
        need(programme in self.programmes, "unknown_id")
        return self.programmes[programme]

    def _line(self, line: str) -> BookLine:
        need(line in self.lines, "unknown_id")
        return self.lines[line]

    def _payee(self, payee: str) -> BookPayee:
        need(payee in self.payees, "unknown_id")
        return self.payees[payee]

    def _request(self, request: int) -> BookRequest:
        need(request in self.requests, "unknown_number")
        return self.requests[request]

    def _of(self, organisation: str) -> None:
        need(self._signer.organisation == organisation, "not_yours")

    def _of_unit(self, row: BookRequest) -> None:
        self._of(self.lines[row.lines[0]].organisation)
        need("funds:clerk" in self._signer.permissions, "not_yours")

    def overdue_on(self, line: str) -> int:
        """How many requests suspend a line because they were paid first and not approved."""
        return sum(1 for one in self.requests.values() if one.overdue and line in one.lines)

    def _judge_open(self, line: str) -> None:
        need(self.lines[line].status == "open" and not self.overdue_on(line), "line_suspended")

    # Comparing -----------------------------------------------------------------------------------------------

    def check_sums(self) -> None:
        """What is free, committed and paid over all lines of a programme is what was appropriated."""
        for programme, appropriated in self.appropriated.items():
            held = sum(sum(line.money.values()) for line in self.lines.values() if line.programme == programme)
            check(held == appropriated, programme, "has", held, "on its lines;", appropriated, "was appropriated")

    def compare(self, rows: Rows) -> None:
        """Compare the whole book with the ledger's rows; raises ``Difference`` at the first that differs."""
        self.check_sums()
        for table, (known, told) in self._sides().items():
            mine = dict(known)
            theirs = dict(entry for entry in map(told, rows(table)) if entry is not None)
            for name in (*mine, *theirs):
                check(mine.get(name) == theirs.get(name), table, name, "is", theirs.get(name), "and in the book",
                      mine.get(name))

    def _sides(self) -> dict[str, tuple[Iterator[tuple[Any, Any]], Callable[[Any], tuple[Any, Any] | None]]]:
        """For each table: what the book has, and what a row says, as (name, value)."""
        balances = {name: self.lines[line].money[where] for line in self.lines
                    for name, where in zip(_accounts_of(line), (FREE, COMMITTED, PAID), strict=True)}
        return {
            "money.accounts": (
                iter(balances.items()),
                lambda row: (row.id, row.credits_posted - row.debits_posted) if row.id in balances else None),
            "funds.programmes": (
                ((name, (one["authority"], one["supervisor"], one["bank"], one["currency"], one["root"]))
                 for name, one in self.programmes.items()),
                lambda row: (row.id, (row.authority, row.supervisor, row.bank, row.currency, row.root))),
            "funds.lines": (
                ((name, (one.programme, one.parent, one.organisation, one.level, one.purpose, one.depth, one.lapses_at,
                         one.status, self.overdue_on(name))) for name, one in self.lines.items()),
                lambda row: (row.id, (row.programme, row.parent, row.organisation, row.level, row.purpose, row.depth,
                                      row.lapses_at, row.status, row.overdue))),
            "funds.payees": (
                ((name, (one.programme, one.identity, one.account, one.controller, one.status, one.changed_by,
                         one.unblocked_by, one.credential)) for name, one in self.payees.items()),
                lambda row: (row.id, (row.programme, row.identity, row.account, row.controller, row.status,
                                      row.changed_by, row.unblocked_by, row.credential))),
            "funds.identities": (
                (((one.programme, one.identity), name) for name, one in self.payees.items()),
                lambda row: ((row.programme, row.identity), row.payee)),
            "funds.entitlements": (
                ((name, (*self.entitlements[name], self.taken(*name), self._paid(*name)))
                 for name in self.entitlements),
                lambda row: ((row.payee, row.cycle), (row.purpose, row.granted_minor, row.taken_minor,
                                                      row.paid_minor))),
            "funds.works": (
                ((name, (one.line, one.payee, one.document, one.value, one.advance, one.per_mille, self.given(name)))
                 for name, one in self.works.items()),
                lambda row: (row.id, (row.line, row.payee, row.document, row.value_minor, row.advance_minor,
                                      row.retention_per_mille,
                                      {name: getattr(row, f"{name}_minor") for name in (
                                          "advancing", "advanced", "claimed", "recovered", "retained", "released")}))),
            "funds.requests": (((one.number, _request_in_book(one)) for one in self.requests.values()),
                               lambda row: (row.number, _request_in_row(row))),
            "funds.references": (
                ((name, one[1]) for name, one in self._references.items()),
                lambda row: ((row.party, row.reference), row.request)),
            "funds.batches": (
                ((name, (one["programme"], one["requests"], one["sum"], one["by"], one["file"], one["day"]))
                 for name, one in self.batches.items()),
                lambda row: (row.id, (row.programme, tuple(row.requests), row.sum_minor, row.released_by, row.file,
                                      row.execution_day))),
            "funds.taken": (((number, one[0]) for number, one in self.messages.items()),
                            lambda row: (row.message, row.programme)),
            "funds.bookings": (
                (((one.number, kind, entry), True) for one in self.requests.values()
                 for kind, entries in one.booked.items() for entry in entries),
                lambda row: ((row.request, row.kind, row.entry), True)),
            "funds.returns": (
                (((one.number, kind, entry), amount) for one in self.requests.values()
                 for kind, said in one.said.items() for entry, amount in said.items()),
                lambda row: ((row.request, row.kind, row.entry), row.amount_minor)),
            "funds.recalls": (iter(self.recalls.items()),
                              lambda row: (row.request, (row.reason, row.recalled_by, row.outcome))),
            "funds.usages": (iter(self.usages.items()), lambda row: ((row.request, row.evidence), row.kind)),
            "funds.findings": (
                ((number, (one["request"], one["severity"], one["statement"], one["by"], one["closed_by"]))
                 for number, one in self.findings.items()),
                lambda row: (row.number, (row.request, row.severity, row.statement, row.raised_by, row.closed_by))),
            "messages.items": (
                ((name, (one.state, None if one.request is None else f"request/{one.request}", one.why))
                 for name, one in self.items.items()),
                lambda row: ((row.message, row.position), (row.state, row.reference, row.reason))),
            "approvals.proposals": (((number, one.state) for number, one in self.proposals.items()),
                                    lambda row: (row.number, row.state)),
        }

    def _paid(self, payee: str, cycle: str) -> int:
        return sum(one.kept for one in self.requests.values()
                   if (one.kind, one.payee, one.about) == ("benefit", payee, cycle) and one.stage in GIVEN)


def _request_in_book(one: BookRequest) -> tuple[Any, ...]:
    return (one.programme, one.kind, one.payee, one.account, one.about, one.gross, one.recovered, one.retained,
            one.amount, one.lines[0], list(zip(one.lines, one.parts, one.back, strict=True)), one.invoice, one.evidence,
            f"F{one.number}", one.uetr, one.stage, one.requester, one.proposal, one.approved, one.regularise_by,
            one.overdue, one.batch, one.reason, one.first_word, one.returned, one.confirmed, one.complaint,
            one.submitted_at, one.stage_at)


def _request_in_row(row: Any) -> tuple[Any, ...]:
    word = None if row.entry_kind is None else (row.entry_kind, row.entry)
    parts = [(part.line, part.amount_minor, part.returned_minor) for part in row.parts]
    return (row.programme, row.kind, row.payee, row.account, row.about, row.gross_minor, row.recovered_minor,
            row.retained_minor, row.amount_minor, row.line, parts, row.invoice, row.evidence, row.end_to_end, row.uetr,
            row.stage,
            row.requester, row.proposal, row.approved, row.regularise_by, row.overdue, row.batch, row.reason, word,
            row.returned_minor, row.confirmed_minor, row.complaint, row.submitted_at, row.stage_at)


def _accounts_of(line: str) -> tuple[str, str, str]:
    """The accounts of what is free, committed and paid on a line."""
    return (f"funds/{line}", f"funds/{line}/committed", f"funds/{line}/paid")


def _plain(entry: Any) -> list[Any]:
    """An entry in one form, whether lists or tuples were given."""
    kind, names, *rest = entry
    return [kind, [tuple(one) for one in names], *rest]


def _nothing() -> None:
    """No effect."""
