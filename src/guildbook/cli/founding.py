"""Founding a network of one node."""

import re
import shlex
import unicodedata
from pathlib import Path

import click

from guildbook.cli.command import Command
from guildbook.cli.terminal import Terminal
from guildbook.primitives.identifiers import check_code, check_network_id
from guildbook.state.record import NAME_CHARS_MAX

ORGANISATION = "Operator"


@click.command(
    cls=Command,
    examples=[
        "guildbook init alliance --app points",
        'guildbook init alliance --network harbour-points --app points --organisation "Harbour Alliance"',
        "guildbook init trial --app loans.contract:Loans --port 0 --json",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--network",
    metavar="ID",
    help="The network's id: 3 to 48 of a-z, 0-9 and '-' [default: the folder's name].",
)
@click.option(
    "--app",
    "applications",
    multiple=True,
    metavar="NAME",
    help="An application to begin with, or module:Class.",
)
@click.option(
    "--organisation", metavar="NAME", default=ORGANISATION, show_default=True, help="Who runs this node."
)
@click.option(
    "--jurisdiction", metavar="CODE", default="XX", show_default=True, help="Where it is, such as NL."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="The port that the node will listen on."
)
@click.pass_obj
def init(
    terminal: Terminal,
    folder: Path,
    network: str | None,
    applications: tuple[str, ...],
    organisation: str,
    jurisdiction: str,
    port: int | None,
) -> None:
    """Found a network of one node in the new FOLDER.

    Makes its genesis document, configuration, store and two keys: one that signs blocks, and one of the administrator,
    who holds every permission at first.
    """
    from guildbook.node import Founding, found_node

    chosen = network if network is not None else _slug(folder.absolute().name)
    check_network_id(chosen)
    if not 1 <= len(organisation) <= NAME_CHARS_MAX:
        raise click.UsageError(f"the organisation's name has 1 to {NAME_CHARS_MAX} characters")
    check_code(jurisdiction, "jurisdiction")
    code = _slug(organisation) or "operator"
    founding = Founding(
        network=chosen,
        organisation=code,
        organisation_name=organisation,
        jurisdiction=jurisdiction,
        applications=applications,
    )
    genesis = found_node(folder, founding, settings={} if port is None else {"http.port": port})
    key = folder / "keys" / f"{founding.administrator}.key"
    contracts = [one.name for one in genesis.contracts]
    shown = shlex.quote(str(folder))
    terminal.answer(
        {
            "folder": str(folder),
            "network": genesis.network,
            "genesis_hash": genesis.hash.hex(),
            "organisation": code,
            "administrator": founding.administrator,
            "key": str(key),
            "contracts": contracts,
        },
        [
            f"founded the network {genesis.network} in {folder}",
            f"contracts: {', '.join(contracts)}",
            f"genesis hash: {genesis.hash.hex()}",
            f"administrator of {organisation}: {key} (whoever can read this file may do everything)",
            "next:",
            f"  guildbook run {shown}",
            f"  guildbook status --node {shown}",
            f'  guildbook sql "SHOW TABLES" --node {shown}',
            f"  guildbook trust {shown} -o trust.json",
        ],
    )


def _slug(text: str) -> str:
    """``text`` in small letters, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48]
