"""For members who decide: what a new version of a contract would have done with the last blocks."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from guildbook.cli.access import store_at_rest
from guildbook.cli.command import Command, Group
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError

if TYPE_CHECKING:
    from guildbook.chain.rehearsal import Rehearsed

BLOCKS = 100


@click.group(cls=Group)
def governance() -> None:
    """Rehearse what is put to the vote."""


@governance.command(
    cls=Command,
    examples=[
        "guildbook governance rehearse loans/contract.py --node alliance --blocks 500",
        "guildbook governance rehearse loans/contract.py --node alliance --after 1200 --until 1700 --proposal 7",
    ],
)
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--node",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    metavar="FOLDER",
    envvar="GUILDBOOK_NODE",
    show_envvar=True,
    help="The folder of a stopped node, or a copy of its store [default: this folder].",
)
@click.option(
    "--blocks",
    type=click.IntRange(1),
    default=BLOCKS,
    show_default=True,
    metavar="N",
    help="Run the last N blocks.",
)
@click.option("--after", type=click.IntRange(0), metavar="HEIGHT", help="Run the blocks after this one.")
@click.option(
    "--until", type=click.IntRange(1), metavar="HEIGHT", help="The last block to run [default: the last]."
)
@click.option(
    "--proposal", type=click.IntRange(1), metavar="NUMBER", help="The proposal that the approval is for."
)
@click.pass_obj
def rehearse(
    terminal: Terminal,
    source: Path,
    node: Path,
    blocks: int,
    after: int | None,
    until: int | None,
    proposal: int | None,
) -> None:
    """Run blocks again as if the contract in the file SOURCE had run them.

    Nothing in the store changes. Prints what members compare before a release (the state root before the blocks and
    the digest over what they gave), which transactions end otherwise, and the call that approves the proposal.
    """
    from guildbook.chain.genesis import read_genesis
    from guildbook.chain.head import GENESIS_KEY
    from guildbook.chain.ledger import View
    from guildbook.chain.rehearsal import rehearse as run_again
    from guildbook.cli.access import installed

    try:
        text = source.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise GuildbookError(
            "contract.not_deterministic", f"{source} is not UTF-8: {error.reason}", hint="save it as UTF-8"
        ) from None
    with store_at_rest(node) as store:
        network = read_genesis(store.get(GENESIS_KEY) or b"").network
        view = View(network, store, installed())
        last = view.head.height if until is None else until
        first = max(0, last - blocks) if after is None else after
        with terminal.progress("rehearse, blocks") as progress:
            done = run_again(view, text, first, last, progress)
    terminal.answer(_document(done, proposal), _lines(done, proposal))


def _document(done: "Rehearsed", proposal: int | None) -> dict[str, object]:
    return {
        "contract": done.contract,
        "version": done.version,
        "source": done.source.hex(),
        "rehearsal_from": done.from_height,
        "rehearsal_to": done.to_height,
        "state_root": done.state_root.hex(),
        "outcome": done.outcome.hex(),
        "transactions": done.transactions,
        "differing": done.differing,
        "differences": [
            {**one._asdict(), "transaction": one.transaction.hex()} for one in done.differences
        ],
        "faults": list(done.faults),
        "approval": _approval(done, proposal),
    }


def _approval(done: "Rehearsed", proposal: int | None) -> str:
    """The command line that states the result in the council."""
    number = "PROPOSAL" if proposal is None else str(proposal)
    return (
        f"guildbook call council.approve_rehearsal proposal={number} rehearsal_from={done.from_height} "
        f"rehearsal_to={done.to_height} state_root={done.state_root.hex()} outcome={done.outcome.hex()}"
    )


def _lines(done: "Rehearsed", proposal: int | None) -> list[str]:
    blocks = done.to_height - done.from_height
    return [
        f"{done.contract} version {done.version}, source {done.source.hex()}",
        f"{blocks} blocks after {done.from_height} up to {done.to_height}: {done.transactions} transactions",
        f"state root before: {done.state_root.hex()}",
        f"outcome: {done.outcome.hex()}",
        f"{done.differing} transactions end otherwise than they did"
        + (":" if done.differences else ""),
        *(
            f"  block {one.height}, {one.place}: {one.before or 'applied'} -> {one.after or 'applied'}"
            for one in done.differences
        ),
        *(f"fault: {text.strip().splitlines()[-1]}" for text in done.faults),
        "approve with:",
        f"  {_approval(done, proposal)}",
    ]
