"""The walker over applications: what every folder of an application must have, checked alike for all of them.

``check_application(folder)`` gives the problems it finds, each a sentence that says what to mend; an empty list means
that the application conforms. ``bombard`` runs generated calls against a contract: whatever well-typed call anybody
makes, the contract refuses or applies it by its own rules, never by a fault, and its laws hold after every block.
"""

import importlib
import inspect
import random
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from guildbook.chain.receipt import Outcome, Receipt
from guildbook.contract.contract import CommandSpec, Contract
from guildbook.foundation import FOUNDATION
from guildbook.primitives.errors import GuildbookError
from guildbook.runtime.gate import check_source
from guildbook.testing.ledger import TestLedger
from guildbook.testing.strategies import arguments_of

REQUIRED_FILES = ("README.md", "__init__.py", "app.toml", "contract.py", "samples", "tests")
REQUIRED_KEYS = ("contract", "name", "summary", "title")
CALLS_PER_RUN = 12
RUNS = 100
"""Ledgers that ``bombard`` runs unless told otherwise."""
CALLS_SHOWN_MAX = 4
"""Last calls of a failing ledger that ``bombard`` shows: what went wrong, and how it came to that."""


def _manifest(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "app.toml").read_text("utf-8"))


def contract_of(folder: Path) -> type[Contract]:
    """The contract class that the manifest of ``folder`` names as ``module:Class``."""
    module_name, _colon, class_name = str(_manifest(folder)["contract"]).partition(":")
    contract: type[Contract] = getattr(importlib.import_module(module_name), class_name)
    return contract


def check_application(folder: Path) -> list[str]:
    """The problems of the application in ``folder``."""
    problems = [f"{folder.name}: {one} is missing" for one in REQUIRED_FILES if not (folder / one).exists()]
    if problems:
        return problems
    try:
        manifest = _manifest(folder)
    except tomllib.TOMLDecodeError as error:
        return [f"{folder.name}/app.toml: {error}"]
    problems += [
        f"{folder.name}/app.toml: {one} is missing" for one in REQUIRED_KEYS if not manifest.get(one)
    ]
    if manifest.get("name") != folder.name:
        problems.append(f"{folder.name}/app.toml: the name is {manifest.get('name')!r}, not the folder's")
    text = (folder / "contract.py").read_text("utf-8")
    problems += [
        f"{folder.name}/contract.py:{one.line}: {one.message}" for one in check_source(text, "contract.py")
    ]
    try:
        contract = contract_of(folder)
    except (KeyError, ImportError, AttributeError, GuildbookError) as error:
        return [*problems, f"{folder.name}: the contract cannot be loaded: {error}"]
    problems += [f"{folder.name}: {one}" for one in check_contract(contract, manifest.get("roles", {}))]
    for sample in manifest.get("samples", []):
        if not (folder / str(sample.get("file"))).is_file():
            problems.append(f"{folder.name}/app.toml: the sample {sample.get('file')} is not there")
    if not any((folder / "tests").glob("test_*.py")):
        problems.append(f"{folder.name}/tests: there is no test")
    tests = "\n".join(one.read_text("utf-8") for one in sorted((folder / "tests").glob("*.py")))
    for rejection in contract.rejections:
        if rejection.code.partition(".")[2] not in tests and rejection.__name__ not in tests:
            problems.append(f"{folder.name}: the refusal {rejection.code} has no test")
    return problems


def check_contract(contract: type[Contract], roles: Mapping[str, str]) -> list[str]:
    """The problems of a contract's declarations; ``roles`` describes each of its roles."""
    problems = []
    if set(roles) != set(contract.roles):
        problems.append(
            f"the manifest describes the roles {sorted(roles)}, and the contract uses {sorted(contract.roles)}"
        )
    if not contract.invariants:
        problems.append("the contract states no invariant")
    documented: list[tuple[str, str]] = [("the contract", inspect.getdoc(contract) or "")]
    documented += [(f"command {name}", spec.doc) for name, spec in contract.commands.items()]
    documented += [(f"query {name}", spec.doc) for name, spec in contract.queries.items()]
    documented += [(f"event {name}", schema.doc) for name, schema in contract.event_schemas.items()]
    documented += [(f"table {name}", table.schema.doc) for name, table in contract.tables.items()]
    documented += [(f"refusal {one.__name__}", one.__doc__ or "") for one in contract.rejections]
    problems += [f"{what} has no documentation" for what, text in documented if not text.strip()]
    module = inspect.getmodule(contract)
    assert isinstance(module, ModuleType)
    return problems


def bombard(
    contract: type[Contract],
    *,
    known: Mapping[str, Sequence[Any]] | None = None,
    runs: int = RUNS,
    seed_number: int = 0,
    prepare: Any = None,
) -> int:
    """Run ``runs`` ledgers of generated calls; returns how many calls were applied.

    A holder of all roles and a stranger call every command with well-typed arguments. ``prepare(ledger)`` may found
    what the calls need. Raises AssertionError at the first fault or broken law, with the last calls of the shortest
    ledger that was found to come to it, the causing one at the end.
    """
    roles = [f"{contract.contract_name}:{role}" for role in contract.roles]
    specs = [spec for spec in contract.commands.values() if not spec.callers_only]
    applied = [0]
    extra = [] if contract in FOUNDATION else [contract]
    call = st.sampled_from(specs).flatmap(
        lambda spec: st.tuples(st.just(spec), arguments_of(spec, known), st.booleans())
    )

    @seed(seed_number)
    @settings(
        max_examples=runs,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(call, min_size=1, max_size=CALLS_PER_RUN), st.integers(0, 2**32))
    def run(calls: list[Any], pace: int) -> None:
        ledger = TestLedger(*extra, actors={"guild/steward": roles, "guild/stranger": []})
        if prepare is not None:
            prepare(ledger)
        source = random.Random(pace)  # noqa: S311 - repeatable, not a secret
        made: list[str] = []
        try:
            for spec, arguments, by_steward in calls:
                actor = "guild/steward" if by_steward else "guild/stranger"
                made.append(f"{_call_text(spec, arguments)} by {actor}")
                name = f"{spec.contract}.{spec.name}"
                receipt: Receipt = ledger.cut([ledger.sign(ledger.actor(actor), [(name, (), arguments)])])[0]
                assert receipt.code != "call.contract_fault", (
                    f"{made[-1]} is a fault of its author:\n{ledger.faults[-1]}"
                )
                applied[0] += receipt.outcome == Outcome.APPLIED
                ledger.advance(seconds=source.choice((0, 1, 3_600, 86_400, 40 * 86_400)))
        except Exception as error:
            error.add_note(_calls_text(made))
            raise

    run()
    return applied[0]


def _call_text(spec: CommandSpec, arguments: Mapping[str, Any]) -> str:
    """A call as a contract's reader writes it: ``shed.borrow(tool='drill-1', days=7)``."""
    return f"{spec.contract}.{spec.name}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def _calls_text(made: Sequence[str]) -> str:
    """The last calls of a ledger, one a line."""
    left_out = len(made) - CALLS_SHOWN_MAX
    earlier = f" (after {left_out} others)" if left_out > 0 else ""
    return "\n    ".join((f"The calls that led there{earlier}:", *made[-CALLS_SHOWN_MAX:]))
