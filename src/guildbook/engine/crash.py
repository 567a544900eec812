"""Named points at which a test may kill the process, to prove that nothing acknowledged is lost.

The environment variable GUILDBOOK_CRASH_AT holds ``name:count``: the process ends itself by SIGKILL the
``count``-th time (from 1) that it passes the point ``name``. Without the variable nothing happens.
"""

import os
import signal

POINTS = ("before_execute", "before_write", "after_write", "before_answer")
"""The write boundaries of a block, in the order in which they are passed."""


class CrashPoints:
    """Counts the passes of the point that was asked for."""

    def __init__(self, wanted: str | None = None) -> None:
        text = os.environ.get("GUILDBOOK_CRASH_AT", "") if wanted is None else wanted
        name, _, count = text.partition(":")
        self._name = name
        self._left = int(count or 1) if name else 0
        assert not name or name in POINTS, (
            f"GUILDBOOK_CRASH_AT names {name!r}; the points are {', '.join(POINTS)}"
        )

    def passed(self, name: str) -> None:
        """The process passes the point ``name``."""
        if self._left and name == self._name:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
