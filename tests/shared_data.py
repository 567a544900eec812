"""Where tests find official vectors, which are kept outside the repository.

The folder is `shared/data` next to the repository, or the one that the environment variable GUILDBOOK_SHARED
names. It is never copied into the project; a test whose file is absent is skipped, and says which one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(path: str) -> Path:
    """The file or folder at `path` in the folder of shared data; skips the test if it is absent."""
    found = Path(os.environ.get("GUILDBOOK_SHARED") or _BESIDE_THE_REPOSITORY) / path
    if not found.exists():
        pytest.skip(f"shared data {path!r} is absent; GUILDBOOK_SHARED names the folder that holds it")
    return found
