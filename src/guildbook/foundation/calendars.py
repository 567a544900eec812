"""Calendars: business days, zones and cut-offs as data of the ledger, and clocks that count working time.

Theory. What is a business day is decided by people, and changes. So it is data: a *calendar* has *versions*, and a
version that is published never changes. It states a weekend, working hours, a cut-off, the offsets of its zone from
UTC as instants from which each holds, and for each of its years the days that are closed and those that are worked
although they are in the weekend. One keeper drafts a version and another one publishes it. Whoever computes names the
version or takes the latest published; a year that a version does not have is refused and never guessed. The data is
made outside the ledger, where libraries know holidays and zones.

A *day* is a number of whole days since 1970-01-01 in the calendar's own zone. A *minute* is one of the local day, from
0 to 1440. An instant is milliseconds UTC. A local time that the clocks skip is the instant of the jump; one that they
show twice is the first of the two.

**Clocks.** A clock counts N working minutes from its start: time in the working hours of business days, without the
stretches in which it was *stopped* (by the contract that started it, with a reason) and without *outages* (of the
calendar as a whole, recorded by one keeper and confirmed by another). It is due when the minutes are used up; while it
is stopped without an end it is not due at all.

The due time is a function of the sets of stops and outages alone. So it does not matter in which order they were
recorded or how late, one that overlaps another counts once, and one more never makes a clock due earlier. What was
last told about a clock stands in its row; each telling says by how much the due time moved and why. After an outage
anybody may have the clocks of a calendar told again; ``due_at`` counts it whether or not anybody does.

**Once.** A contract gives each clock a reference; the same with the same content returns the first number.

**Order of refusal**: as in ``Calendars.rejections``; each command checks in that order.

Sources: 2006 ISDA Definitions, section 4.12 (business day conventions); IANA time zone database (offsets).
"""

import enum

from guildbook.contract import (
    INT64_MAX,
    Code,
    Contract,
    Digest,
    Event,
    Int,
    Name,
    NonNegative,
    Positive,
    Record,
    Rejected,
    Table,
    Timestamp,
    command,
    digest_of,
    invariant,
    key,
    query,
    require,
    weekday,
    year_month_day,
)

MINUTE_MS = 60_000
DAY_MINUTES = 1_440
DAY_MS = DAY_MINUTES * MINUTE_MS
WEEK_DAYS = 7
OFFSET_MINUTES_MAX = 18 * 60
"""How far a zone may be from UTC; none is further than 14 hours."""
PERIODS_MAX = 8
STOPS_MAX = 64
"""Stops of one clock."""
BUSINESS_DAYS_MAX = 2_000
"""Business days that one call counts."""
SEARCHED_DAYS_MAX = 4_000
"""Days that one call looks at: about eleven years."""
RETOLD_PER_CALL_MAX = 50
"""Clocks that one call tells again."""


class VersionState(enum.StrEnum):
    """Whether a version can be used."""

    DRAFT = "draft"
    PUBLISHED = "published"


class Roll(enum.StrEnum):
    """Where a day goes that is no business day; ``modified`` stays in the month by going the other way."""

    UNADJUSTED = "unadjusted"
    FOLLOWING = "following"
    PRECEDING = "preceding"
    MODIFIED_FOLLOWING = "modified_following"
    MODIFIED_PRECEDING = "modified_preceding"


class ClockState(enum.StrEnum):
    """How a clock stands; ``overdue`` runs on after its due time, ``met`` and ``late`` have ended."""

    RUNNING = "running"
    STOPPED = "stopped"
    OVERDUE = "overdue"
    MET = "met"
    LATE = "late"


class Period(Record):
    """Working hours of a business day, from a minute of the local day to before another."""

    from_minute: NonNegative
    to_minute: Positive


class Offset(Record):
    """From this instant on, local time is UTC and so many minutes."""

    from_at: Timestamp
    minutes: Int


class Calendar(Record):
    """A calendar and its keeper; ``current`` is the latest published version, 0 before the first."""

    id: Code = key()
    keeper: Code
    drafted: Positive
    current: NonNegative


class Version(Record):
    """A version of a calendar. ``weekend`` has the days of the week, Monday 0 to Sunday 6; years run from the first to
    the last without a gap, and both are 0 before there is one.
    """

    calendar: Code = key()
    version: Positive = key()
    state: VersionState
    zone: Code
    weekend: tuple[NonNegative, ...]
    hours: tuple[Period, ...]
    cut_off_minute: NonNegative
    """From this minute of the local day on, business is that of the next day; 1440 for none."""
    offsets: tuple[Offset, ...]
    first_year: NonNegative
    last_year: NonNegative
    source: Name
    drafted_by: Code
    published_by: Code | None
    published_at: Timestamp | None


class Year(Record):
    """The exceptions of a year, as days since 1970: closed although not in the weekend, worked although in it."""

    calendar: Code = key()
    version: Positive = key()
    year: Positive = key()
    closed: tuple[NonNegative, ...]
    worked: tuple[NonNegative, ...]


class Outage(Record):
    """A stretch in which no clock of a calendar runs, once a second keeper has confirmed it."""

    calendar: Code = key()
    number: Positive = key()
    from_at: Timestamp
    until_at: Timestamp
    reason: Code
    evidence: Digest
    recorded_by: Code
    confirmed_by: Code | None
    confirmed_at: Timestamp | None


class Clock(Record):
    """Working minutes that are counted from a start; ``told_due_at`` is the due time that was told last."""

    number: Positive = key()
    contract: Code
    reference: Code
    content: Digest
    subject: Code
    calendar: Code
    version: Positive
    started_at: Timestamp
    minutes: Positive
    stops: NonNegative
    told_due_at: Timestamp | None
    ended_at: Timestamp | None


class Stop(Record):
    """A stretch in which a clock was stopped; without an end it still is."""

    clock: Positive = key()
    number: Positive = key()
    from_at: Timestamp
    until_at: Timestamp | None
    reason: Code
    recorded_at: Timestamp


class VersionDrafted(Event):
    """A keeper drafted a version of a calendar."""

    calendar: Code
    version: Positive


class VersionPublished(Event):
    """A second keeper published a version of a calendar."""

    calendar: Code
    version: Positive
    first_year: Positive
    last_year: Positive


class OutageRecorded(Event):
    """A keeper recorded an outage; it counts when another has confirmed it."""

    calendar: Code
    outage: Positive
    from_at: Timestamp
    until_at: Timestamp
    reason: Code


class OutageConfirmed(Event):
    """An outage counts."""

    calendar: Code
    outage: Positive


class ClockStarted(Event):
    """A clock runs."""

    clock: Positive
    contract: Code
    subject: Code
    calendar: Code
    version: Positive
    due_at: Timestamp | None


class DueTimeTold(Event):
    """The due time of a clock was computed again: what it was, what it is, by how much it moved, and why. None stands
    for no due time, while the clock is stopped.
    """

    clock: Positive
    before: Timestamp | None
    after: Timestamp | None
    moved_ms: Int | None
    cause: Code


class ClockEnded(Event):
    """What a clock was for has happened, in time or late."""

    clock: Positive
    due_at: Timestamp | None
    late: bool


class UnknownCalendar(Rejected):
    """No calendar has this id."""

    calendar: Code


class UnknownVersion(Rejected):
    """The calendar has no such version, or none that is published."""

    calendar: Code


class NotTheKeeper(Rejected):
    """Only a keeper of the organisation that keeps the calendar may do this."""

    keeper: Code


class NotADraft(Rejected):
    """The version is published, and never changes."""

    version: Positive


class SamePerson(Rejected):
    """Who did the first half does not do the second."""

    party: Code


class WeekendMalformed(Rejected):
    """The days of the weekend are 0 (Monday) to 6 (Sunday), rising, and not all seven."""


class HoursMalformed(Rejected):
    """Working hours are periods of the day, rising and apart, at least one and at most so many."""

    most: Positive


class CutOffMalformed(Rejected):
    """A cut-off is a minute of the day, 0 to 1440."""

    most: Positive


class OffsetsMalformed(Rejected):
    """Offsets begin at 0, rise in time, and are at most 18 hours."""


class YearsNotInOrder(Rejected):
    """The years of a version follow one another."""

    next: Positive


class DaysMalformed(Rejected):
    """Exceptions are rising days of the year: closed ones outside the weekend, worked ones in it."""

    year: Positive


class NoYears(Rejected):
    """The version has no years yet."""

    version: Positive


class TimeOutOfRange(Rejected):
    """The stretch is empty, or the time lies ahead."""

    latest: Timestamp


class UnknownOutage(Rejected):
    """The calendar has no outage of this number."""

    outage: Positive


class AlreadyConfirmed(Rejected):
    """The outage is confirmed."""

    outage: Positive


class ReferenceUsed(Rejected):
    """The reference was used for another clock; give each its own."""

    reference: Code
    clock: Positive


class UnknownClock(Rejected):
    """No clock has this number."""

    clock: Positive


class NotYourClock(Rejected):
    """The clock belongs to another contract."""

    clock: Positive


class HasEnded(Rejected):
    """The clock has ended."""

    ended_at: Timestamp


class UnknownStop(Rejected):
    """The clock has no stop of this number."""

    stop: Positive


class StopHasEnded(Rejected):
    """The stop has its end already."""

    until_at: Timestamp


class TooManyStops(Rejected):
    """The clock was stopped as often as a clock may be."""

    most: Positive


class CountOutOfRange(Rejected):
    """So many days are not counted in one call."""

    most: Positive


class BeyondCalendar(Rejected):
    """The version does not have this year; publish one that does."""

    year: Int
    first_year: Positive
    last_year: Positive


class TooFar(Rejected):
    """What is looked for does not come within so many days."""

    most: Positive


def offset_at(offsets: tuple[Offset, ...], at: int) -> int:
    """The offset in milliseconds that holds at an instant."""
    minutes = offsets[0].minutes
    for one in offsets:
        if one.from_at > at:
            break
        minutes = one.minutes
    return minutes * MINUTE_MS


def local_day(offsets: tuple[Offset, ...], at: int) -> int:
    """The local day of an instant."""
    return (at + offset_at(offsets, at)) // DAY_MS


def instant_of(offsets: tuple[Offset, ...], day: int, minute: int) -> int:
    """The instant of a minute (0 to 1440) of a local day: of a skipped one the jump, of a doubled one the first."""
    local = day * DAY_MS + minute * MINUTE_MS
    for place, one in enumerate(offsets):
        at = local - one.minutes * MINUTE_MS
        if at < one.from_at:
            return one.from_at
        if place + 1 == len(offsets) or at < offsets[place + 1].from_at:
            return at
    return local


def merged(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of time in order and without overlap, that cover what the given ones cover."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def without(start: int, end: int, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of a stretch that are outside the ``gaps``, which are in order and apart."""
    parts: list[tuple[int, int]] = []
    for gap_start, gap_end in gaps:
        if gap_end <= start:
            continue
        if gap_start >= end:
            break
        if gap_start > start:
            parts.append((start, gap_start))
        start = max(start, gap_end)
    if start < end:
        parts.append((start, end))
    return parts


def is_rising(values: tuple[int, ...]) -> bool:
    """Whether each value is greater than the one before."""
    return all(values[place - 1] < values[place] for place in range(1, len(values)))


class Calendars(Contract, name="calendars", version=1):
    """Calendars with their versions and years, outages, and clocks of working time."""

    calendars = Table(Calendar)
    versions = Table(Version)
    years = Table(Year)
    outages = Table(Outage)
    clocks = Table(Clock, index=[("contract", "reference", "number"), ("calendar", "number")])
    stops = Table(Stop)
    events = (
        VersionDrafted,
        VersionPublished,
        OutageRecorded,
        OutageConfirmed,
        ClockStarted,
        DueTimeTold,
        ClockEnded,
    )
    rejections = (
        ReferenceUsed,
        UnknownClock,
        NotYourClock,
        HasEnded,
        UnknownCalendar,
        NotTheKeeper,
        UnknownVersion,
        NotADraft,
        WeekendMalformed,
        HoursMalformed,
        CutOffMalformed,
        OffsetsMalformed,
        YearsNotInOrder,
        DaysMalformed,
        NoYears,
        UnknownOutage,
        AlreadyConfirmed,
        SamePerson,
        UnknownStop,
        StopHasEnded,
        TimeOutOfRange,
        TooManyStops,
        CountOutOfRange,
        BeyondCalendar,
        TooFar,
    )

    # keeping calendars

    @command(role="keeper")
    def draft_version(
        self,
        calendar: Code,
        zone: Code,
        weekend: tuple[NonNegative, ...],
        hours: tuple[Period, ...],
        cut_off_minute: NonNegative,
        offsets: tuple[Offset, ...],
        source: Name,
    ) -> int:
        """Draft the next version of a calendar, which the signer's organisation keeps or begins; returns its number.

        ``source`` says from what it was made. Years are added next, and another keeper publishes it.
        """
        row = self.calendars.get(calendar)
        if row is not None:
            self._require_keeper(row)
        apart = is_rising(weekend) and all(day < WEEK_DAYS for day in weekend)
        require(apart and len(weekend) < WEEK_DAYS, WeekendMalformed)
        edges = tuple([edge for one in hours for edge in (one.from_minute, one.to_minute)])
        inside = 0 < len(hours) <= PERIODS_MAX and is_rising(edges) and edges[-1] <= DAY_MINUTES
        require(inside, HoursMalformed, most=PERIODS_MAX)
        require(cut_off_minute <= DAY_MINUTES, CutOffMalformed, most=DAY_MINUTES)
        known = len(offsets) > 0 and offsets[0].from_at == 0 and is_rising(tuple([one.from_at for one in offsets]))
        require(known and all(abs(one.minutes) <= OFFSET_MINUTES_MAX for one in offsets), OffsetsMalformed)

        version = 1 if row is None else row.drafted + 1
        if row is None:
            keeper = self.sender.organisation
            self.calendars.insert(Calendar(id=calendar, keeper=keeper, drafted=version, current=0))
        else:
            self.calendars.update(row, drafted=version)
        self.versions.insert(
            Version(
                calendar=calendar,
                version=version,
                state=VersionState.DRAFT,
                zone=zone,
                weekend=weekend,
                hours=hours,
                cut_off_minute=cut_off_minute,
                offsets=offsets,
                first_year=0,
                last_year=0,
                source=source,
                drafted_by=self.sender.party,
                published_by=None,
                published_at=None,
            )
        )

        self.emit(VersionDrafted(calendar=calendar, version=version))
        return version

    @command(role="keeper")
    def add_year(
        self,
        calendar: Code,
        version: Positive,
        year: Positive,
        closed: tuple[NonNegative, ...],
        worked: tuple[NonNegative, ...] = (),
    ) -> None:
        """Add a year to a draft: its closed days outside the weekend, and its worked days in it, as days since 1970."""
        self._require_keeper(self._calendar(calendar))
        row = self._draft(calendar, version)
        following = row.last_year == 0 or year == row.last_year + 1
        require(following, YearsNotInOrder, next=row.last_year + 1)
        sound = is_rising(closed) and is_rising(worked)
        of_year = all(year_month_day(day)[0] == year for day in (*closed, *worked))
        apart = all(weekday(day) not in row.weekend for day in closed) and all(
            weekday(day) in row.weekend for day in worked
        )
        require(sound and of_year and apart, DaysMalformed, year=year)

        self.years.insert(Year(calendar=calendar, version=version, year=year, closed=closed, worked=worked))
        self.versions.update(row, first_year=year if row.first_year == 0 else row.first_year, last_year=year)

    @command(role="keeper")
    def publish_version(self, calendar: Code, version: Positive) -> None:
        """Publish a draft, which from now on never changes; by another keeper than the one who drafted it.

        The latest published version is the calendar's current one.
        """
        row = self._calendar(calendar)
        self._require_keeper(row)
        draft = self._draft(calendar, version)
        require(draft.last_year > 0, NoYears, version=version)
        require(draft.drafted_by != self.sender.party, SamePerson, party=self.sender.party)

        self.versions.update(
            draft, state=VersionState.PUBLISHED, published_by=self.sender.party, published_at=self.now
        )
        self.calendars.update(row, current=max(row.current, version))

        self.emit(
            VersionPublished(
                calendar=calendar, version=version, first_year=draft.first_year, last_year=draft.last_year
            )
        )

    @command(role="keeper")
    def record_outage(
        self, calendar: Code, from_at: Timestamp, until_at: Timestamp, reason: Code, evidence: Digest
    ) -> int:
        """Record a stretch of the past in which no clock of a calendar ran; returns its number."""
        self._require_keeper(self._calendar(calendar))
        require(from_at < until_at <= self.now, TimeOutOfRange, latest=self.now)

        number = self.sequence(calendar + "/outages")
        self.outages.insert(
            Outage(
                calendar=calendar,
                number=number,
                from_at=from_at,
                until_at=until_at,
                reason=reason,
                evidence=evidence,
                recorded_by=self.sender.party,
                confirmed_by=None,
                confirmed_at=None,
            )
        )

        self.emit(
            OutageRecorded(calendar=calendar, outage=number, from_at=from_at, until_at=until_at, reason=reason)
        )
        return number

    @command(role="keeper")
    def confirm_outage(self, calendar: Code, outage: Positive) -> None:
        """Let an outage count; by another keeper than the one who recorded it."""
        self._require_keeper(self._calendar(calendar))
        row = self.outages.get(calendar, outage)
        if row is None:
            raise UnknownOutage(outage=outage)
        require(row.confirmed_by is None, AlreadyConfirmed, outage=outage)
        require(row.recorded_by != self.sender.party, SamePerson, party=self.sender.party)

        self.outages.update(row, confirmed_by=self.sender.party, confirmed_at=self.now)

        self.emit(OutageConfirmed(calendar=calendar, outage=outage))

    # clocks, for contracts

    @command(callers_only=True)
    def start_clock(
        self,
        reference: Code,
        subject: Code,
        calendar: Code,
        minutes: Positive,
        started_at: Timestamp | None = None,
        version: Positive | None = None,
    ) -> int:
        """Count ``minutes`` of working time from ``started_at`` (now unless told otherwise, and never ahead), by a
        version of a calendar (the current one unless told otherwise). Returns the clock's number.
        """
        content = digest_of("calendars.clock", subject, calendar, minutes, started_at, version)
        earlier = next(self.clocks.find(self.caller, reference, limit=1), None)
        if earlier is not None:
            require(earlier.content == content, ReferenceUsed, reference=reference, clock=earlier.number)
            return earlier.number
        terms = self._published(calendar, version)
        start = self.now if started_at is None else started_at
        require(start <= self.now, TimeOutOfRange, latest=self.now)

        number = self.sequence("clocks")
        row = self.clocks.insert(
            Clock(
                number=number,
                contract=self.caller,
                reference=reference,
                content=content,
                subject=subject,
                calendar=calendar,
                version=terms.version,
                started_at=start,
                minutes=minutes,
                stops=0,
                told_due_at=None,
                ended_at=None,
            )
        )
        due = self._due(row)
        self.clocks.update(row, told_due_at=due)

        self.emit(
            ClockStarted(
                clock=number,
                contract=self.caller,
                subject=subject,
                calendar=calendar,
                version=terms.version,
                due_at=due,
            )
        )
        return number

    @command(callers_only=True)
    def stop_clock(
        self,
        clock: Positive,
        reason: Code,
        from_at: Timestamp | None = None,
        until_at: Timestamp | None = None,
    ) -> int:
        """Stop a clock from ``from_at`` (now unless told otherwise, and never ahead) until ``until_at``, or until it is
        resumed. Returns the stop's number.
        """
        row = self._own_clock(clock)
        start = self.now if from_at is None else from_at
        require(start <= self.now and (until_at is None or start < until_at), TimeOutOfRange, latest=self.now)
        require(row.stops < STOPS_MAX, TooManyStops, most=STOPS_MAX)

        number = row.stops + 1
        row = self.clocks.update(row, stops=number)
        self.stops.insert(
            Stop(
                clock=clock, number=number, from_at=start, until_at=until_at, reason=reason, recorded_at=self.now
            )
        )

        self._tell(row, reason)
        return number

    @command(callers_only=True)
    def resume_clock(self, clock: Positive, stop: Positive, until_at: Timestamp | None = None) -> None:
        """Give a stop its end, now unless told otherwise and never ahead."""
        row = self._own_clock(clock)
        stretch = self.stops.get(clock, stop)
        if stretch is None:
            raise UnknownStop(stop=stop)
        if stretch.until_at is not None:
            raise StopHasEnded(until_at=stretch.until_at)
        end = self.now if until_at is None else until_at
        require(stretch.from_at < end <= self.now, TimeOutOfRange, latest=self.now)

        self.stops.update(stretch, until_at=end)

        self._tell(row, "resumed")

    @command(callers_only=True)
    def move_clock(self, clock: Positive, version: Positive | None = None) -> int | None:
        """Let a clock count by another version of its calendar, the current one unless told otherwise, from its start
        on: as when a holiday is declared later, or the years of the earlier version run out. Returns the due time.
        """
        row = self._own_clock(clock)
        terms = self._published(row.calendar, version)

        row = self.clocks.update(row, version=terms.version)

        return self._tell(row, "calendar_version")

    @command(callers_only=True)
    def end_clock(self, clock: Positive, ended_at: Timestamp | None = None) -> bool:
        """What the clock was for has happened, now unless told otherwise and never ahead; returns whether it was late.

        An outage that is recorded later still counts: ``clock_state`` says how it stands by all that is known.
        """
        row = self._own_clock(clock)
        end = self.now if ended_at is None else ended_at
        require(row.started_at <= end <= self.now, TimeOutOfRange, latest=self.now)

        due = self._due(row)
        late = due is not None and end > due
        self.clocks.update(row, ended_at=end, told_due_at=due)

        self.emit(ClockEnded(clock=clock, due_at=due, late=late))
        return late

    @command
    def tell_clock(self, clock: Positive) -> int | None:
        """Compute the due time of a clock again and say how it moved; by anybody. Returns it, None while stopped."""
        return self._tell(self._clock(clock), "told_again")

    @command
    def tell_clocks(self, calendar: Code, after: NonNegative = 0, limit: Positive = RETOLD_PER_CALL_MAX) -> int:
        """Tell the clocks of a calendar with a number above ``after`` again, at most ``limit`` and 50 of them; by
        anybody. Returns the last number, for the next call; 0 when none is left.
        """
        self._calendar(calendar)
        most = min(limit, RETOLD_PER_CALL_MAX)
        told = 0
        last = 0
        for row in self.clocks.find(calendar, index=("calendar", "number")):
            if told == most:
                break
            if row.number > after:
                self._tell(row, "told_again")
                told += 1
                last = row.number
        return last if told == most else 0

    # days

    @query
    def is_business_day(self, calendar: Code, day: NonNegative, version: Positive | None = None) -> bool:
        """Whether a day is worked."""
        terms = self._published(calendar, version)
        return self._is_worked(terms, day, {})

    @query
    def roll(self, calendar: Code, day: NonNegative, rule: Roll, version: Positive | None = None) -> int:
        """The day itself where it is worked, else the worked day that the rule takes."""
        return self._rolled(self._published(calendar, version), day, rule, {})

    @query
    def add_business_days(
        self, calendar: Code, day: NonNegative, count: Int, version: Positive | None = None
    ) -> int:
        """The ``count``-th worked day after ``day``, before it where ``count`` is negative; for 0 the day itself or the
        next worked one. At most 2000 days either way.
        """
        terms = self._published(calendar, version)
        require(abs(count) <= BUSINESS_DAYS_MAX, CountOutOfRange, most=BUSINESS_DAYS_MAX)
        years: dict[int, Year] = {}
        if count == 0:
            return self._rolled(terms, day, Roll.FOLLOWING, years)
        step = 1 if count > 0 else -1
        left = abs(count)
        for distance in range(1, SEARCHED_DAYS_MAX):
            there = day + step * distance
            left -= 1 if self._is_worked(terms, there, years) else 0
            if left == 0:
                return there
        raise TooFar(most=SEARCHED_DAYS_MAX)

    @query
    def business_days_between(
        self, calendar: Code, first: NonNegative, last: NonNegative, version: Positive | None = None
    ) -> int:
        """How many days from ``first`` to before ``last`` are worked; 0 where ``last`` is not later."""
        terms = self._published(calendar, version)
        require(last - first <= SEARCHED_DAYS_MAX, CountOutOfRange, most=SEARCHED_DAYS_MAX)
        years: dict[int, Year] = {}
        count = 0
        for distance in range(min(max(last - first, 0), SEARCHED_DAYS_MAX)):
            count += 1 if self._is_worked(terms, first + distance, years) else 0
        return count

    @query
    def local_date(self, calendar: Code, at: Timestamp, version: Positive | None = None) -> int:
        """The day of an instant in the calendar's zone, worked or not."""
        return local_day(self._published(calendar, version).offsets, at)

    @query
    def business_date(self, calendar: Code, at: Timestamp, version: Positive | None = None) -> int:
        """The worked day to which business at an instant belongs: the local day, from its cut-off on the next, and
        where that is not worked the next one that is.
        """
        terms = self._published(calendar, version)
        local = at + offset_at(terms.offsets, at)
        day = local // DAY_MS
        over = (local - day * DAY_MS) // MINUTE_MS >= terms.cut_off_minute
        return self._rolled(terms, day + (1 if over else 0), Roll.FOLLOWING, {})

    @query
    def start_of_day(
        self, calendar: Code, day: NonNegative, minute: NonNegative = 0, version: Positive | None = None
    ) -> int:
        """The instant at which a local day, or a minute of it, begins. A day ends where the next one begins."""
        terms = self._published(calendar, version)
        require(minute <= DAY_MINUTES, CutOffMalformed, most=DAY_MINUTES)
        return instant_of(terms.offsets, day, minute)

    # working time

    @query
    def deadline(
        self, calendar: Code, start: Timestamp, minutes: Positive, version: Positive | None = None
    ) -> int:
        """The instant at which ``minutes`` of working time from ``start`` are used up, with the outages recorded so
        far.
        """
        terms = self._published(calendar, version)
        due = self._used_up(terms, start, minutes, merged(self._outages(calendar)))
        assert due is not None, "outages have an end"
        return due

    @query
    def working_ms(
        self, calendar: Code, start: Timestamp, end: Timestamp, version: Positive | None = None
    ) -> int:
        """The working time between two instants, milliseconds, without the outages recorded so far."""
        terms = self._published(calendar, version)
        require(end - start <= SEARCHED_DAYS_MAX * DAY_MS, CountOutOfRange, most=SEARCHED_DAYS_MAX)
        gaps = merged(self._outages(calendar))
        first = local_day(terms.offsets, start)
        years: dict[int, Year] = {}
        total = 0
        for distance in range(SEARCHED_DAYS_MAX + 2):
            if instant_of(terms.offsets, first + distance, 0) >= end:
                break
            for part_start, part_end in self._worked_parts(terms, first + distance, start, gaps, years):
                total += max(min(part_end, end) - part_start, 0)
        return total

    @query
    def due_at(self, clock: Positive) -> int | None:
        """When a clock is due by all that is recorded; None while it is stopped without an end."""
        return self._due(self._clock(clock))

    @query
    def clock_state(self, clock: Positive) -> Code:
        """running, stopped, overdue; met or late once it has ended: by all that is recorded."""
        row = self._clock(clock)
        due = self._due(row)
        if row.ended_at is not None:
            return ClockState.LATE if due is not None and row.ended_at > due else ClockState.MET
        if due is not None and self.now > due:
            return ClockState.OVERDUE
        stopped = any(
            stop.from_at <= self.now and (stop.until_at is None or self.now < stop.until_at)
            for stop in self.stops.find(clock)
        )
        return ClockState.STOPPED if stopped else ClockState.RUNNING

    # guards

    def _calendar(self, calendar: str) -> Calendar:
        row = self.calendars.get(calendar)
        if row is None:
            raise UnknownCalendar(calendar=calendar)
        return row

    def _require_keeper(self, row: Calendar) -> None:
        require(row.keeper == self.sender.organisation, NotTheKeeper, keeper=row.keeper)

    def _draft(self, calendar: str, version: int) -> Version:
        row = self.versions.get(calendar, version)
        if row is None:
            raise UnknownVersion(calendar=calendar)
        require(row.state is VersionState.DRAFT, NotADraft, version=version)
        return row

    def _published(self, calendar: str, version: int | None) -> Version:
        wanted = self._calendar(calendar).current if version is None else version
        row = None if wanted == 0 else self.versions.get(calendar, wanted)
        if row is None or row.state is not VersionState.PUBLISHED:
            raise UnknownVersion(calendar=calendar)
        return row

    def _clock(self, clock: int) -> Clock:
        row = self.clocks.get(clock)
        if row is None:
            raise UnknownClock(clock=clock)
        return row

    def _own_clock(self, clock: int) -> Clock:
        row = self._clock(clock)
        require(row.contract == self.caller, NotYourClock, clock=clock)
        if row.ended_at is not None:
            raise HasEnded(ended_at=row.ended_at)
        return row

    # computing; ``years`` keeps the years that were read while one result is computed

    def _is_worked(self, terms: Version, day: int, years: dict[int, Year]) -> bool:
        year = year_month_day(day)[0]
        row = years.get(year)
        if row is None:
            row = self.years.get(terms.calendar, terms.version, year) if year > 0 else None
            if row is None:
                raise BeyondCalendar(year=year, first_year=terms.first_year, last_year=terms.last_year)
            years[year] = row
        return day in row.worked if weekday(day) in terms.weekend else day not in row.closed

    def _searched(self, terms: Version, day: int, step: int, years: dict[int, Year]) -> int:
        """The first worked day from ``day`` on, going by ``step``."""
        for distance in range(SEARCHED_DAYS_MAX):
            if self._is_worked(terms, day + step * distance, years):
                return day + step * distance
        raise TooFar(most=SEARCHED_DAYS_MAX)

    def _rolled(self, terms: Version, day: int, rule: Roll, years: dict[int, Year]) -> int:
        if rule is Roll.UNADJUSTED:
            return day
        forward = rule is Roll.FOLLOWING or rule is Roll.MODIFIED_FOLLOWING
        there = self._searched(terms, day, 1 if forward else -1, years)
        modified = rule is Roll.MODIFIED_FOLLOWING or rule is Roll.MODIFIED_PRECEDING
        if modified and year_month_day(there)[:2] != year_month_day(day)[:2]:
            return self._searched(terms, day, -1 if forward else 1, years)
        return there

    def _worked_parts(
        self, terms: Version, day: int, start: int, gaps: list[tuple[int, int]], years: dict[int, Year]
    ) -> list[tuple[int, int]]:
        """The working time of a day from ``start`` on, outside the gaps."""
        parts: list[tuple[int, int]] = []
        if self._is_worked(terms, day, years):
            for period in terms.hours:
                opens = instant_of(terms.offsets, day, period.from_minute)
                closes = instant_of(terms.offsets, day, period.to_minute)
                parts.extend(without(max(opens, start), closes, gaps))
        return parts

    def _used_up(self, terms: Version, start: int, minutes: int, gaps: list[tuple[int, int]]) -> int | None:
        """When the working time is used up; None where a gap without an end comes first."""
        left = minutes * MINUTE_MS
        first = local_day(terms.offsets, start)
        endless = gaps[-1][0] if gaps and gaps[-1][1] == INT64_MAX else INT64_MAX
        years: dict[int, Year] = {}
        for distance in range(SEARCHED_DAYS_MAX):
            day = first + distance
            if max(instant_of(terms.offsets, day, 0), start) >= endless:
                return None
            for part_start, part_end in self._worked_parts(terms, day, start, gaps, years):
                if part_end - part_start >= left:
                    return part_start + left
                left -= part_end - part_start
        raise TooFar(most=SEARCHED_DAYS_MAX)

    def _outages(self, calendar: str) -> list[tuple[int, int]]:
        return [(one.from_at, one.until_at) for one in self.outages.find(calendar) if one.confirmed_by is not None]

    def _due(self, row: Clock) -> int | None:
        terms = self.versions.get(row.calendar, row.version)
        assert terms is not None, "a clock counts by a version that is published"
        gaps = self._outages(row.calendar)
        for stop in self.stops.find(row.number):
            gaps.append((stop.from_at, INT64_MAX if stop.until_at is None else stop.until_at))
        return self._used_up(terms, row.started_at, row.minutes, merged(gaps))

    # effects

    def _tell(self, row: Clock, cause: str) -> int | None:
        due = self._due(row)
        before = row.told_due_at
        self.clocks.update(row, told_due_at=due)
        moved = None if due is None or before is None else due - before
        self.emit(DueTimeTold(clock=row.number, before=before, after=due, moved_ms=moved, cause=cause))
        return due

    # laws

    @invariant
    def what_is_published_is_whole(self) -> None:
        """A published version has every year from its first to its last, and was published by a second person; the
        current version of a calendar is published.
        """
        for row in self.versions.find():
            years = [one.year for one in self.years.find(row.calendar, row.version)]
            assert all(year == row.first_year + place for place, year in enumerate(years)), row.calendar
            assert len(years) == (0 if row.last_year == 0 else row.last_year - row.first_year + 1), row.calendar
            if row.state is VersionState.PUBLISHED:
                assert years != [], row.calendar
                assert row.published_by is not None, row.calendar
                assert row.published_by != row.drafted_by, row.calendar
        for calendar in self.calendars.find():
            assert calendar.current <= calendar.drafted, calendar.id
            if calendar.current > 0:
                current = self.versions.get(calendar.id, calendar.current)
                assert current is not None, calendar.id
                assert current.state is VersionState.PUBLISHED, calendar.id

    @invariant
    def no_clock_is_due_before_its_time(self) -> None:
        """A clock is due no sooner than its minutes after its start, and has as many stops as it counts."""
        for row in self.clocks.find(index=()):
            assert row.told_due_at is None or row.told_due_at >= row.started_at + row.minutes * MINUTE_MS, row.number
            stops = [stop.number for stop in self.stops.find(row.number)]
            assert len(stops) == row.stops, row.number
            assert all(number == place for place, number in enumerate(stops, 1)), row.number

    @invariant
    def an_outage_is_confirmed_by_a_second_person(self) -> None:
        """Who confirmed an outage did not record it."""
        for row in self.outages.find():
            assert row.confirmed_by != row.recorded_by, row.number
