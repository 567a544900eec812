"""A second contract, which tries what only the first may."""

from guildbook.contract import Contract, Positive, command, use
from guildbook.foundation.calendars import Calendars


class OtherTimer(Contract, name="other_timer", version=1):
    """Tries to use clocks of another contract."""

    calendars = use(Calendars)

    @command
    def stop(self, clock: Positive) -> int:
        """Try to stop a clock."""
        return self.calendars.stop_clock(clock, "mine")

    @command
    def end(self, clock: Positive) -> bool:
        """Try to end a clock."""
        return self.calendars.end_clock(clock)
