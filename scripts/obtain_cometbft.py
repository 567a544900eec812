"""Obtain CometBFT for tests and demonstrations: use what is there, else build it once (about two minutes).

    obtain_cometbft.py [--try] [VERSION ...]

With --try a machine that cannot have it is told so, and the status is 0 all the same: tests that need it are skipped.
"""

import sys
import time

from guildbook.engine.cometbft.binary import GO_NEEDED, PINNED, find_binary, obtain_binary
from guildbook.primitives.errors import GuildbookError

TOLD_EVERY_S = 10.0


class Progress:
    """A line every few seconds; a moving one on a terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"\rcometbft: {stage}: {done * 100 // total} % ")
            sys.stderr.write("\n" if done >= total else "")
        elif now - self._last >= TOLD_EVERY_S:
            self._last = now
            sys.stderr.write(f"cometbft: {stage}: {done * 100 // total} %\n")
        sys.stderr.flush()


def main(words: list[str]) -> int:
    try_only = "--try" in words
    status = 0
    for version in [word for word in words if word != "--try"] or [PINNED]:
        if version not in GO_NEEDED:
            sys.stderr.write(f"cometbft: {version} is not one of {', '.join(GO_NEEDED)}\n")
            return 2
        try:
            if find_binary(version) is None:
                sys.stderr.write(
                    f"cometbft: {version} is not on this machine; it is fetched and built now, once\n"
                )
                sys.stderr.write(f"cometbft: done: {obtain_binary(version, Progress())}\n")
        except GuildbookError as error:
            sys.stderr.write(f"cometbft: {error.message}\n  what to do: {error.hint}\n")
            if try_only:
                sys.stderr.write("cometbft: tests of a network will be skipped\n")
            else:
                status = 1
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
