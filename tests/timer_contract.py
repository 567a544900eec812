"""A contract that does with calendars what its callers ask: for tests of clocks."""

from guildbook.contract import Code, Contract, Positive, Timestamp, command, use
from guildbook.foundation.calendars import Calendars


class Timer(Contract, name="timer", version=1):
    """Passes calls on."""

    calendars = use(Calendars)

    @command
    def start(
        self,
        reference: Code,
        minutes: Positive,
        started_at: Timestamp | None = None,
        calendar: Code = "office",
        version: Positive | None = None,
    ) -> int:
        """Start a clock."""
        return self.calendars.start_clock(reference, "permit-1", calendar, minutes, started_at, version)

    @command
    def stop(
        self, clock: Positive, reason: Code, from_at: Timestamp | None = None, until_at: Timestamp | None = None
    ) -> int:
        """Stop a clock."""
        return self.calendars.stop_clock(clock, reason, from_at, until_at)

    @command
    def resume(self, clock: Positive, stop: Positive, until_at: Timestamp | None = None) -> None:
        """Resume a clock."""
        self.calendars.resume_clock(clock, stop, until_at)

    @command
    def end(self, clock: Positive, ended_at: Timestamp | None = None) -> bool:
        """End a clock."""
        return self.calendars.end_clock(clock, ended_at)
