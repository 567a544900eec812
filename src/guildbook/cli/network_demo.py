"""A network of organisations on this machine that plays an application: the module ``network`` of one that has it.

Such a module has ``organisations()`` (who takes part), ``APPLICATIONS``, ``play(network, seconds, seed, progress)`` and
``audit(network, played)``, see ``guildbook.testing.network``; what it plays goes through real nodes over real sockets.
"""

import contextlib
import importlib
import importlib.util
import shutil
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.command import Command
from guildbook.cli.demonstrating import free_folder
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError

if TYPE_CHECKING:
    from guildbook.testing.network import LocalNetwork, Played

NETWORK = "network-demo"
SUMMARY_FILE = "summary.json"


@click.command(
    cls=Command,
    examples=[
        "guildbook network demo",
        "guildbook network demo points --seconds 30 --out build/network --keep",
    ],
)
@click.argument("application", default="points")
@click.option(
    "--seconds", type=click.IntRange(1, 3_600), default=10, show_default=True, help="How long to trade."
)
@click.option(
    "--seed", type=int, default=20, show_default=True, help="The same seed draws the same commands."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder for nodes, evidence and summary [default: network-demo, with a number behind it].",
)
@click.option(
    "--keep", is_flag=True, help="Keep the nodes' folders, so that guildbook run goes on with them."
)
@click.pass_obj
def demo(terminal: Terminal, application: str, seconds: int, seed: int, out: Path | None, keep: bool) -> None:
    """Run a network of several organisations and an observer on this machine, and play APPLICATION on it.

    Each organisation has a node and a CometBFT of its own. At the end all nodes are compared, a receipt is proven to a
    stranger, and everything stops; also on Ctrl-C. Needs CometBFT, which is built at the first time.
    """
    from guildbook.engine.cometbft.binary import obtain_binary

    module = _module(application)
    target = out if out is not None else free_folder("network-demo")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GuildbookError("store.not_empty", f"{target} holds something already", hint="name a new folder")
    with terminal.stages() as progress:
        obtain_binary(progress=progress)
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        document = _run(terminal, module, target.absolute(), seconds, seed)
    except BaseException:
        shutil.rmtree(target if made else target / "nodes", ignore_errors=True)
        raise
    if not keep:
        shutil.rmtree(target / "nodes")
    from guildbook.cli.files import write_new_file
    from guildbook.cli.terminal import table_lines

    written = [
        f"{target}/{name}" for name in ("evidence", "trust.json", SUMMARY_FILE, *(["nodes"] if keep else []))
    ]
    import json

    write_new_file(target / SUMMARY_FILE, json.dumps(document, indent=2).encode() + b"\n")
    rows = [[one["organisation"], "a vote" if one["power"] else "observer", one["height"], one["app_hash"][:16]]
            for one in document["nodes"]]  # fmt: skip
    terminal.answer(
        {"application": application, "out": str(target), "summary": document},
        [
            *table_lines(["node", "role", "block", "state and log after it"], rows),
            f"All {len(rows)} nodes have the same state and the same log.",
            f"{document['transactions']:,} signed transactions in {document['trading_s']:.1f} s through "
            f"{document['validators']} nodes: {document['transactions_per_s']:,} a second, with all nodes and whoever "
            "sends on this machine.",
            *([document["audit"]] if document["audit"] else []),
            f"Evidence: {document['evidence']['kind']}, block {document['evidence']['height']}, signed by "
            f"{document['evidence']['power']} of {document['evidence']['total_power']}, verified against the genesis "
            f"validators in {document['evidence']['steps']} steps.",
            *(["Refused: " + ", ".join(f"{count:,} {code}" for code, count in document["refusals"].items())]
              if document["refusals"] else []),
            *(f"  {one}" for one in written),
            f"Verify it: guildbook verify {target}/evidence --trust {target}/trust.json",
        ],
    )  # fmt: skip


def _run(
    terminal: Terminal, module: types.ModuleType, target: Path, seconds: int, seed: int
) -> dict[str, Any]:
    from guildbook.evidence.trust import format_trust
    from guildbook.evidence.verify import verify
    from guildbook.testing.network import LocalNetwork

    began = time.monotonic()
    with terminal.stages() as progress:
        progress("founding the network", 0, 1)
        network = LocalNetwork.found(
            target / "nodes", module.organisations(), module.APPLICATIONS, network=NETWORK
        )
        progress("founding the network", 1, 1)
        with _stopping(network):
            for number, one in enumerate(network.nodes):
                progress("starting nodes", number, len(network.nodes))
                one.start()
            for one in network.nodes:
                one.wait_ready()
            progress("starting nodes", len(network.nodes), len(network.nodes))
            started = time.monotonic()
            played: Played = module.play(network, seconds, seed, progress)
            progress("comparing all nodes", 0, 1)
            height, _app_hash = network.same_roots()
            nodes = [
                {
                    "organisation": one.organisation.id,
                    "power": 0 if one.organisation.observer else one.organisation.power,
                    "height": height,
                    "app_hash": one.app_hash(height),
                }
                for one in network.nodes
            ]
            progress("comparing all nodes", 1, 1)
            evidence = network.nodes[-1].client().evidence_receipt(played.proven)
        progress("auditing", 0, 1)
        said = module.audit(network, played)
        progress("auditing", 1, 1)
    verdict = verify(evidence, network.trust)
    (target / "evidence").write_bytes(evidence)
    (target / "trust.json").write_bytes(format_trust(network.trust))
    return {
        "network": network.genesis.network,
        "genesis_hash": network.genesis.hash.hex(),
        "validators": len(network.validators),
        "nodes": nodes,
        "transactions": played.transactions,
        "trading_s": round(played.seconds, 2),
        "transactions_per_s": int(played.transactions / played.seconds),
        "start_s": round(started - began, 2),
        "refusals": played.refusals,
        "audit": said,
        "evidence": {
            "kind": verdict.kind,
            "height": verdict.height,
            "power": verdict.power,
            "total_power": verdict.total_power,
            "steps": len(verdict.steps),
        },
    }


@contextlib.contextmanager
def _stopping(network: "LocalNetwork") -> Iterator[None]:
    """Stop all nodes when the block ends; where it ends early there is nothing to save, and they are ended at once."""
    try:
        yield
    except BaseException:
        for one in network.nodes:
            one.kill()
        raise
    network.stop()


def _module(application: str) -> types.ModuleType:
    """The module that plays ``application`` on a network. Raises GuildbookError ``cli.usage``."""
    from guildbook.node.applications import discover

    playing = {}
    for name, path in discover().items():
        package = path.partition(":")[0].rpartition(".")[0]
        if package and importlib.util.find_spec(f"{package}.network") is not None:
            playing[name] = f"{package}.network"
    if application not in playing:
        raise GuildbookError(
            "cli.usage",
            f"{application} is no application that plays on a network",
            hint=f"these do: {', '.join(playing) or 'none that is installed'}",
        )
    return importlib.import_module(playing[application])
