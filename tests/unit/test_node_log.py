"""What a node logs goes to where standard error is then, not to where it was."""

import io
import logging
import sys

import pytest

from guildbook.node.config import NodeConfig
from guildbook.node.log import configure_logging


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_replaced_standard_error_is_written_to_and_a_closed_one_is_not(monkeypatch):
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    configure_logging(NodeConfig().log)
    logging.getLogger("guildbook.test").warning("one")
    assert "one" in first.getvalue()
    monkeypatch.setattr(sys, "stderr", second)
    first.close()
    logging.getLogger("guildbook.test").warning("two")
    assert "two" in second.getvalue()
    assert "Logging error" not in second.getvalue()
