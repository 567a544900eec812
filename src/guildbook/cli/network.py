"""Networks of several members: founding one, joining it, and looking whether a node of it is well."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.command import Command, Group
from guildbook.cli.files import new_file, write_new_file
from guildbook.cli.keys import PASSPHRASE_VARIABLE
from guildbook.cli.terminal import Terminal, table_lines
from guildbook.primitives.errors import GuildbookError

if TYPE_CHECKING:
    from guildbook.chain.genesis import Genesis
    from guildbook.node.joining import Join, Peers, ProposedMember

PROPOSAL_FILE = "proposal.json"
JOIN_SUFFIX = ".join.json"
FILE_SIZE_BYTES_MAX = 16 << 20


@click.group(
    cls=Group,
    modules={"doctor": "guildbook.cli.network_doctor", "demo": "guildbook.cli.network_demo"},
    epilog="Founding with real members, step by step: docs/how-to/network.md.",
)
def network() -> None:
    """Found and keep a network of several members.

    Somebody proposes (init), every organisation answers with its own keys (join), every organisation makes the same
    genesis of all answers (genesis collect), compares its hash with the others, and makes its node (genesis accept).
    """


@network.command(
    cls=Command,
    examples=[
        "guildbook network init proposal.json --network harbour-points --app points --member moss --member ...",
        'guildbook network init proposal.json --network trial --member a --member b --observer "watch=The Watch,GB"',
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--network",
    "network_id",
    required=True,
    metavar="ID",
    help="The network's id: 3 to 48 of a-z, 0-9 and '-'.",
)
@click.option(
    "--app",
    "applications",
    multiple=True,
    metavar="NAME",
    help="An application to begin with, or module:Class.",
)
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="ID[=NAME[,JURISDICTION]]",
    help="An organisation with a vote and a validator. Four are the fewest of which one may fail.",
)
@click.option(
    "--observer",
    "observers",
    multiple=True,
    metavar="ID[=NAME[,JURISDICTION]]",
    help="An organisation whose node follows without a vote, such as a supervisor's.",
)
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the ledger."
)
@click.pass_obj
def init(
    terminal: Terminal,
    file: Path,
    network_id: str,
    applications: tuple[str, ...],
    members: tuple[str, ...],
    observers: tuple[str, ...],
    parameters: tuple[str, ...],
) -> None:
    """Propose a network: writes the new FILE, which goes to every organisation that it names.

    A member may get every permission of the contracts, an observer only that of administrating its own people. The file
    is plain JSON: change permissions, voting power or parameters with an editor before you send it. Every join answers
    to one exact proposal.
    """
    from guildbook.node.joining import contracts_at_hand, make_proposal, roles_of

    roles = roles_of(contracts_at_hand(applications))
    asked = [_member(one, roles, observer=False) for one in members]
    asked += [
        _member(one, [one for one in roles if one == "parties:admin"], observer=True) for one in observers
    ]
    proposal = make_proposal(
        network_id, asked, applications, time.time_ns() // 1_000_000, _numbers(parameters)
    )
    write_new_file(file, proposal.to_json())
    voters = [one.organisation for one in asked if not one.observer]
    may_fail = (len(voters) - 1) // 3
    terminal.answer(
        {
            "file": str(file),
            "network": network_id,
            "proposal": proposal.hash.hex(),
            "members": voters,
            "observers": [one.organisation for one in asked if one.observer],
            "contracts": [f"{one.name} {one.version}" for one in proposal.contracts],
            "validators_that_may_fail": may_fail,
        },
        [
            f"wrote the proposal of {network_id} to {file}",
            f"proposal: {proposal.hash.hex()}",
            f"contracts: {', '.join(f'{one.name} {one.version}' for one in proposal.contracts)}",
            f"{len(voters)} validators; the network goes on while {may_fail or 'none'} of them "
            f"{'is' if may_fail == 1 else 'are'} away",
            "next, each organisation on its own machine:",
            f"  guildbook network join {file} FOLDER --organisation ID --address HOST:PORT",
        ],
    )


def _member(text: str, permissions: list[str], *, observer: bool) -> "ProposedMember":
    from guildbook.node.joining import ProposedMember

    organisation, _equals, described = text.partition("=")
    name, _comma, jurisdiction = described.rpartition(",") if "," in described else (described, "", "")
    return ProposedMember(
        organisation, name or organisation, jurisdiction or "XX", permissions, observer, 0 if observer else 1
    )


def _numbers(texts: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value.isascii() or not value.isdigit():
            raise click.UsageError(f"--parameter {text}: give NAME=VALUE, a whole number")
        found[name] = int(value)
    return found


@network.command(
    cls=Command,
    examples=[
        "guildbook network join proposal.json alliance --organisation moss-and-fern --address moss.example.org:26656",
        "guildbook network join proposal.json alliance --organisation moss --address m:1 --party till=points:merchant",
    ],
)
@click.argument(
    "proposal_file", metavar="PROPOSAL", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--organisation", required=True, metavar="ID", help="Which of the proposed organisations you are."
)
@click.option("--address", required=True, metavar="HOST:PORT", help="Where the other nodes reach yours.")
@click.option(
    "--api",
    "api_url",
    default="",
    metavar="URL",
    help="Where your node's interface is for members, if it is.",
)
@click.option("--administrator", metavar="PARTY", help="Its first administrator [default: admin-ID].")
@click.option(
    "--party",
    "parties",
    multiple=True,
    metavar="PARTY=PERMISSION[,...]",
    help="A service that signs too, with a key of its own and these permissions.",
)
@click.option(
    "--passphrase",
    "wanted",
    is_flag=True,
    help="Encrypt the key files; asks, or takes GUILDBOOK_KEY_PASSPHRASE.",
)
@click.pass_obj
def join(
    terminal: Terminal,
    proposal_file: Path,
    folder: Path,
    organisation: str,
    address: str,
    api_url: str,
    administrator: str | None,
    parties: tuple[str, ...],
    wanted: bool,
) -> None:
    """Answer to PROPOSAL: draws your keys here, in the new FOLDER, and writes a signed join for the other members.

    The keys never leave this machine; only the file ORGANISATION.join.json does. The folder becomes your node with
    guildbook network genesis accept.
    """
    from guildbook.client.keyfile import new_key, write_key
    from guildbook.node.folder import FOLDER_MODE
    from guildbook.node.joining import JoiningParty, check_sources, make_join, read_proposal

    data = _read(proposal_file)
    proposal = read_proposal(data)
    check_sources(proposal)
    member = proposal.member(organisation)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GuildbookError("store.not_empty", f"{folder} holds something already", hint="name a new folder")
    first = administrator or f"admin-{organisation}"
    people = [JoiningParty(first, "person", first, "", member.permissions)]
    for text in parties:
        name, _equals, permissions = text.partition("=")
        people.append(JoiningParty(name, "service", name, "", [one for one in permissions.split(",") if one]))
    validator, node = new_key(), new_key()
    signers = [(one, new_key()) for one in people]
    answer = make_join(proposal, organisation, signers, validator, node, address, api_url)
    passphrase = _new_passphrase() if wanted else None
    keys = folder / "keys"
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    keys.mkdir(mode=FOLDER_MODE)
    for name, key in [("validator", validator), ("node", node), *((one.id, key) for one, key in signers)]:
        write_key(keys / f"{name}.key", key, passphrase)
    (folder / PROPOSAL_FILE).write_bytes(data)
    file = folder / f"{organisation}{JOIN_SUFFIX}"
    with new_file(file) as draft:
        draft.write_bytes(answer.to_json())
    terminal.answer(
        {
            "folder": str(folder),
            "join": str(file),
            "network": proposal.network,
            "proposal": proposal.hash.hex(),
            "organisation": organisation,
            "observer": member.observer,
            "parties": [one.id for one, _key in signers],
        },
        [
            f"{organisation} joins {proposal.network}"
            f" {'as an observer' if member.observer else 'with a vote'}: {file}",
            f"proposal: {proposal.hash.hex()} (compare it with the other members)",
            f"keys of {', '.join(one.id for one, _key in signers)}, of the validator and of the node: {keys}",
            "next: send the join to the other members; with all of them at hand,",
            f"  guildbook network genesis collect {folder / PROPOSAL_FILE} JOIN...",
        ],
    )


def _new_passphrase() -> str:
    import os

    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given or str(click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))


@network.group(cls=Group)
def genesis() -> None:
    """Make the genesis of a network of its proposal and all joins."""


_joins = click.argument(
    "joins",
    metavar="JOIN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)


@genesis.command(
    cls=Command,
    examples=[
        "guildbook network genesis collect proposal.json joins/*.join.json",
        "guildbook network genesis collect proposal.json joins/*.join.json --out founding",
    ],
)
@click.argument(
    "proposal_file", metavar="PROPOSAL", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_joins
@click.option("--out", type=click.Path(path_type=Path), help="A new folder for genesis.json and peers.json.")
@click.pass_obj
def collect(terminal: Terminal, proposal_file: Path, joins: tuple[Path, ...], out: Path | None) -> None:
    """Make the genesis of PROPOSAL and all joins, and show its hash; every machine gets the same.

    Checks each join: its signatures, and that it answers to this proposal.
    """
    made, peers = _collected(_read(proposal_file), joins)
    if out is not None:
        out.mkdir(parents=True)
        write_new_file(out / "genesis.json", made.to_json())
        write_new_file(out / "peers.json", peers.to_json())
    document = _founding(made, peers) | {"folder": None if out is None else str(out)}
    terminal.answer(
        document,
        [
            *_founding_lines(made, peers),
            "next: compare the hash with every other member, by telephone or in a meeting; if all have the same,",
            f"  guildbook network genesis accept FOLDER JOIN... --hash {made.hash.hex()}",
        ],
    )


@genesis.command(
    cls=Command,
    examples=["guildbook network genesis accept alliance joins/*.join.json --hash 5f1c...09"],
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_joins
@click.option(
    "--hash", "agreed", required=True, metavar="HASH", help="The genesis hash that all members compared."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="The port of your node's interface."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where your node listens for the others [default: any address, the port of your join].",
)
@click.pass_obj
def accept(
    terminal: Terminal,
    folder: Path,
    joins: tuple[Path, ...],
    agreed: str,
    port: int | None,
    listen: str | None,
) -> None:
    """Make your node of the FOLDER that network join made, if the genesis has the hash that all members compared."""
    from guildbook.node.joining import read_join, read_proposal
    from guildbook.node.member import accept_genesis

    made, peers = _collected(_read(folder / PROPOSAL_FILE), joins)
    own = [read_join(_read(one)) for one in sorted(folder.glob(f"*{JOIN_SUFFIX}"))]
    if len(own) != 1:
        raise GuildbookError(
            "network.malformed",
            f"{folder} has {len(own)} joins",
            hint="name the folder that guildbook network join made",
        )
    _require_hash(made, agreed, "find out with the other members whose join differs; do not go on")
    applications = read_proposal(_read(folder / PROPOSAL_FILE)).applications
    accept_genesis(folder, made, peers, own[0], applications=applications, http_port=port, p2p_listen=listen)
    terminal.answer(
        _founding(made, peers) | {"folder": str(folder), "organisation": own[0].organisation},
        [
            *_founding_lines(made, peers),
            f"{folder} is the node of {own[0].organisation}",
            "next:",
            f"  guildbook network doctor {folder}",
            f"  guildbook run {folder}",
        ],
    )


@network.command(
    cls=Command,
    examples=[
        "guildbook network observe watch --genesis genesis.json --peers peers.json --hash 5f1c...09 --address w:26656",
    ],
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--genesis",
    "genesis_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The genesis document, from any member.",
)
@click.option(
    "--peers",
    "peers_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The list of peers, from any member.",
)
@click.option(
    "--hash",
    "agreed",
    required=True,
    metavar="HASH",
    help="The genesis hash, from another member than the files.",
)
@click.option("--address", required=True, metavar="HOST:PORT", help="Where the other nodes reach yours.")
@click.option(
    "--organisation", default="observer", show_default=True, metavar="ID", help="A name for the peers."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="The port of your node's interface."
)
@click.option(
    "--passphrase",
    "wanted",
    is_flag=True,
    help="Encrypt the key files; asks, or takes GUILDBOOK_KEY_PASSPHRASE.",
)
@click.pass_obj
def observe(
    terminal: Terminal,
    folder: Path,
    genesis_file: Path,
    peers_file: Path,
    agreed: str,
    address: str,
    organisation: str,
    port: int | None,
    wanted: bool,
) -> None:
    """Make a node, in the new FOLDER, that follows a network which was founded before, without a vote.

    It fetches all blocks from the members' nodes and runs them itself. The members may vote its validator in later.
    """
    from guildbook.chain.genesis import read_genesis
    from guildbook.client.keyfile import read_key
    from guildbook.node.joining import read_peers
    from guildbook.node.member import observe as make_observer
    from guildbook.primitives.keys import key_text

    made = read_genesis(_read(genesis_file))
    _require_hash(made, agreed, "ask several members for the hash; do not go on")
    passphrase = _new_passphrase() if wanted else None
    entry = make_observer(
        folder,
        made,
        read_peers(_read(peers_file)),
        organisation,
        address,
        http_port=port,
        passphrase=passphrase,
    )
    validator = key_text(read_key(folder / "keys" / "validator.key", passphrase).public_key)
    terminal.answer(
        {
            "folder": str(folder),
            "network": made.network,
            "genesis_hash": agreed,
            "id": entry.id,
            "validator": validator,
        },
        [
            f"{folder} is a node of {made.network} that observes",
            f"node: {entry.id}@{address}",
            f"validator key, for a vote that admits it: {validator}",
            f"next: guildbook run {folder}",
        ],
    )


def _require_hash(made: "Genesis", agreed: str, hint: str) -> None:
    if made.hash.hex() != agreed:
        raise GuildbookError(
            "network.mismatch",
            f"this genesis has the hash {made.hash.hex()}, and the members agreed on {agreed}",
            hint=hint,
            found=made.hash.hex(),
            agreed=agreed,
        )


def _collected(proposal: bytes, joins: tuple[Path, ...]) -> "tuple[Genesis, Peers]":
    from guildbook.node.joining import collect as collect_joins
    from guildbook.node.joining import read_proposal

    return collect_joins(read_proposal(proposal), [_join_in(one) for one in joins])


def _join_in(path: Path) -> "Join":
    from guildbook.node.joining import read_join

    try:
        return read_join(_read(path))
    except GuildbookError as error:
        raise GuildbookError(error.code, f"{path}: {error.message}", hint=error.hint) from None


def _founding(made: "Genesis", peers: "Peers") -> dict[str, Any]:
    power = {one.organisation: one.power for one in made.validators}
    return {
        "network": made.network,
        "genesis_hash": made.hash.hex(),
        "time_ms": made.time_ms,
        "contracts": [f"{one.name} {one.version}" for one in made.contracts],
        "nodes": [
            {
                "organisation": one.organisation,
                "power": power.get(one.organisation, 0),
                "address": one.p2p_address,
                "id": one.id,
                "api": one.api_url,
            }
            for one in peers.nodes
        ],
    }


def _founding_lines(made: "Genesis", peers: "Peers") -> list[str]:
    power = {one.organisation: one.power for one in made.validators}
    people = {one.id: ", ".join(party.id for party in one.parties) for one in made.organisations}
    rows = [
        [one.organisation, power.get(one.organisation, 0), one.p2p_address, people.get(one.organisation, "")]
        for one in peers.nodes
    ]
    return [
        f"network: {made.network}",
        f"contracts: {', '.join(f'{one.name} {one.version}' for one in made.contracts)}",
        *table_lines(["organisation", "power", "address", "parties"], rows),
        f"genesis hash: {made.hash.hex()}",
    ]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_SIZE_BYTES_MAX + 1)
