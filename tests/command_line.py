"""Running the `guildbook` command in tests: in this process, or as one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guildbook.cli.main import main
from guildbook.client.keyfile import read_key
from guildbook.node import Founding, found_node, open_node

TESTS = Path(__file__).parent
APPLICATION = "sample_contract:Units"
QUICK = {
    "http.port": 0,
    "sequencer.gather_ms": 1,
    "sequencer.proof_delay_ms": 5,
    "sequencer.signature_workers": 0,
    "store.free_bytes_warn": 0,
    "store.free_bytes_min": 0,
}


class Ran(NamedTuple):
    """What a command did: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that a command with `--json` told."""
        error = self.document["error"]
        assert set(error) == {"code", "message", "hint", "fields"}, error
        return dict(error)


class CommandLine:
    """`guildbook` in this process, with its output captured."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def __call__(self, *words: object) -> Ran:
        """Run one command; any exit status."""
        self._captured.readouterr()
        status = main([str(word) for word in words])
        out, err = self._captured.readouterr()
        return Ran(status, out, err)

    def done(self, *words: object) -> Ran:
        """Run one command that must succeed."""
        ran = self(*words)
        assert ran.status == 0, ran
        return ran


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that can import the sample contract."""
    return {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1", **more}


def process(*words: object, **options: Any) -> "subprocess.Popen[str]":
    """`guildbook` started as a process; its output is text in pipes unless `options` say otherwise."""
    settings: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
        "text": True,
        "env": environment(),
        **options,
    }
    return subprocess.Popen([sys.executable, "-m", "guildbook.cli.main", *map(str, words)], **settings)


def finished(running: "subprocess.Popen[str]", seconds: float = 60) -> Ran:
    """What a started command did, when it has ended."""
    out, err = running.communicate(timeout=seconds)
    return Ran(running.returncode, out or "", err or "")


def founded(folder: Path, **settings: object) -> Path:
    """A new node with the sample contract; its administrator holds every permission."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    found_node(folder, Founding("test-net", applications=(APPLICATION,)), settings={**QUICK, **named})
    return folder


def filled(folder: Path, blocks: int = 3, calls: int = 20) -> list[str]:
    """Blocks of issues on the stopped node in `folder`; the ids of their transactions."""
    key = read_key(folder / "keys" / "admin.key")
    transactions = []
    with open_node(folder) as node:
        node.engine.start()
        client = node.client(key)
        for block in range(blocks):
            envelopes = [
                client.sign([("units.issue", {"to": f"account-{number}", "units": block + 1})])
                for number in range(calls)
            ]
            answers = client.batch(envelopes)
            assert all(one.receipt is not None for one in answers), answers
            transactions += [one.transaction.hex() for one in answers]
    return transactions
