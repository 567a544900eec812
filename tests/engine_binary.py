"""CometBFT for tests: the program of a version, or a skip that says why there is none.

It is never built here, since a build takes minutes: `make test` obtains it beforehand where it can.
"""

from functools import cache
from pathlib import Path

import pytest

from guildbook.engine.cometbft.binary import PINNED, find_binary
from guildbook.primitives.errors import GuildbookError


@cache
def _found(version: str) -> Path | str:
    try:
        return find_binary(version) or f"CometBFT {version} is not on this machine; make cometbft obtains it"
    except GuildbookError as error:
        return error.message


def cometbft(version: str = PINNED) -> Path:
    """The program of `version`; skips the test where there is none."""
    found = _found(version)
    if isinstance(found, str):
        pytest.skip(found)
    return found
