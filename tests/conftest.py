"""Settings of all tests: how many examples the laws are tried on.

The default profile is quick; `HYPOTHESIS_PROFILE=long` tries many more. Examples differ from run to run, and
a failure prints how to reproduce it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from guildbook.node.log import JsonFormatter, PlainFormatter

settings.register_profile(
    "ci",
    deadline=None,
    derandomize=False,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def node_log_ends_with_its_test() -> Iterator[None]:
    """A node's log that a test switched on writes nothing into the standard error of a later test."""
    yield
    root = logging.getLogger()
    ours = [one for one in root.handlers if isinstance(one.formatter, (JsonFormatter, PlainFormatter))]
    for handler in ours:
        root.removeHandler(handler)
    if ours:
        root.setLevel(logging.WARNING)
