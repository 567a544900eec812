"""The same work in two interpreters that differ in everything a program must not depend on.

    assert_runs_alike("my_app.workload:run")

The target is a function that makes a ledger, runs something on it, and returns the ``TestLedger`` (or a tuple that
begins with it). It is run in separate processes with different hash seeds, time zones and locales; application hashes
are compared block by block, and the first difference is explained down to transaction, table, row and field.
"""

import importlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guildbook.chain.changes import BlockChanges, decode_changes
from guildbook.chain.divergence import Divergence, ViewSide, as_text, explain, row_values
from guildbook.chain.ledger import View
from guildbook.primitives.errors import GuildbookError

SETTINGS: tuple[Mapping[str, str], ...] = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC"},
    {"PYTHONHASHSEED": "4711", "TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONUTF8": "0"},
)
"""The environments of the two runs, beside what a process needs to start."""
PASSED_ON = ("PATH", "HOME", "PYTHONPATH", "TMPDIR", "LD_LIBRARY_PATH")
SECONDS_MAX = 600
WORKLOAD_SEED = 20_261_124


class Recorded(msgspec.Struct, frozen=True, array_like=True):
    """What a run did: application hash and changes of each height from 0, and the fields of each table."""

    hashes: list[bytes]
    changes: list[bytes]
    fields: dict[str, list[str]]


class _Named(msgspec.Struct, frozen=True):
    """A field by its name alone."""

    name: str


class RecordedSide:
    """A recorded run as a side of a comparison."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    @property
    def first_height(self) -> int:
        """See Side."""
        return 0

    @property
    def last_height(self) -> int:
        """See Side."""
        return len(self._recorded.hashes) - 1

    def app_hash(self, height: int) -> bytes:
        """See Side."""
        return self._recorded.hashes[height]

    def changes(self, height: int) -> BlockChanges | None:
        """See Side."""
        return decode_changes(self._recorded.changes[height])

    def row(self, height: int, table: str, data: bytes) -> Any:  # noqa: ARG002 - the protocol's signature
        """See Side."""
        values = row_values(None, data)
        names = self._recorded.fields.get(table)
        if names is None or not isinstance(values, list):
            return values
        return dict(zip(names, values, strict=False))


def record(view: View) -> Recorded:
    """Everything that a comparison needs of the ledger in ``view``, which keeps all its blocks."""
    side = ViewSide(view)
    heights = range(view.head.height + 1)
    changes = [view.changes_bytes(height) or b"" for height in heights]
    tables = view.catalogue().tables
    fields = {name: [one.name for one in schema.fields] for name, schema in tables.items()}
    return Recorded([side.app_hash(height) for height in heights], changes, fields)


def run_alone(target: str, arguments: Sequence[str], settings: Mapping[str, str]) -> Recorded:
    """What ``target`` (``module:function``) does with ``arguments`` in a process of its own with these settings.

    Raises GuildbookError ``diverge.run_failed`` with the end of what the process said.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(settings)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryDirectory(prefix="guildbook-") as folder:
        output = Path(folder) / "recorded"
        command = [sys.executable, "-m", "guildbook.testing.determinism", target, str(output), *arguments]
        done = subprocess.run(  # noqa: S603 - this interpreter, this package
            command, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
        if done.returncode != 0 or not output.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise GuildbookError(
                "diverge.run_failed",
                f"{target} failed with status {done.returncode}: {' | '.join(said[-3:])[-500:]}",
                hint="run the function by itself first",
                settings=dict(settings),
            )
        return msgspec.msgpack.decode(output.read_bytes(), type=Recorded)


def compare_runs(
    target: str, arguments: Sequence[str] = (), settings: Sequence[Mapping[str, str]] = SETTINGS
) -> Divergence | None:
    """Where runs of ``target`` under ``settings`` (two or more) part from the first of them, None where none does."""
    assert len(settings) >= 2, settings
    first = RecordedSide(run_alone(target, arguments, settings[0]))
    for other in settings[1:]:
        side = RecordedSide(run_alone(target, arguments, other))
        found = explain(first, side)
        if found is None and side.last_height != first.last_height:
            raise GuildbookError(
                "diverge.run_failed",
                f"one run of {target} made {first.last_height} blocks, another {side.last_height}",
                hint="let the target make the same blocks each time",
            )
        if found is not None:
            return found
    return None


def assert_runs_alike(target: str, arguments: Sequence[str] = ()) -> None:
    """Fail with an explanation unless ``target`` does the same in differing interpreters."""
    found = compare_runs(target, arguments)
    assert found is None, "\n".join(as_text(found, "one run", "another run"))


def workload(module: str, blocks: str = "12") -> Any:
    """Play the workload of an application: ``run(source, blocks=...)`` of ``module``, drawn from a fixed seed."""
    return importlib.import_module(module).run(random.Random(WORKLOAD_SEED), blocks=int(blocks))  # noqa: S311


def replayed(folder: str) -> View:
    """Replay the blocks of the stopped node in ``folder``; the view of what came out, as far as that went."""
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.head import GENESIS_KEY
    from guildbook.chain.replay import replay
    from guildbook.foundation import FOUNDATION
    from guildbook.runtime.registry import Registry
    from guildbook.state.kv import MemoryStore
    from guildbook.state.rocks import RocksStore

    registry = Registry()
    for contract in FOUNDATION:
        registry.install(contract)
    place = Path(folder)
    store = RocksStore(
        place if (place / "CURRENT").exists() else place / "store", must_exist=True, read_only=True
    )
    try:
        scratch = MemoryStore()
        network = read_genesis(store.get(GENESIS_KEY) or b"").network
        for _finding in replay(View(network, store, registry), scratch, registry):
            pass  # what parts from the headers is found by the comparison
        return View(network, scratch, registry)
    finally:
        store.close()


def main(arguments: Sequence[str]) -> int:
    """Run a target and write down what it did: ``TARGET OUTPUT [ARGUMENT ...]``."""
    target, output, *rest = arguments
    module, _colon, name = target.partition(":")
    made = getattr(importlib.import_module(module), name)(*rest)
    first = made[0] if isinstance(made, tuple) else made
    view = first if isinstance(first, View) else first.ledger.view()
    Path(output).write_bytes(msgspec.msgpack.encode(record(view)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
