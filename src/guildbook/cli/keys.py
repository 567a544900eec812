"""Signing keys in files: make one, look at one, list a folder of them.

A key file is PKCS #8 in PEM, readable by its owner alone. Without a passphrase the file is the secret: whoever can
read it signs as its party. With one, the secret in it is encrypted.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

from guildbook.cli.command import Command, Group
from guildbook.cli.terminal import Terminal, table_lines
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text

PASSPHRASE_VARIABLE = "GUILDBOOK_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
KEY_FILES_MAX = 10_000
PLAIN_NOTE = "The file is not encrypted: whoever can read it signs as its party. Keep it where only you can."
ENCRYPTED_NOTE = "The file is encrypted. Without the passphrase the key is lost."


def signing_key(path: Path) -> SigningKey:
    """The key in ``path``; its passphrase comes from GUILDBOOK_KEY_PASSPHRASE, or is asked for on a terminal.

    Raises GuildbookError ``key.malformed``.
    """
    from guildbook.client.keyfile import read_key

    if not is_encrypted(path):
        return read_key(path)
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = click.prompt(f"passphrase of {path}", hide_input=True, err=True)
    return read_key(path, given)


def is_encrypted(path: Path) -> bool:
    """Whether the key file ``path`` is under a passphrase, by the label of its PEM (RFC 7468, section 11)."""
    try:
        with path.open("rb") as file:
            return b"ENCRYPTED PRIVATE KEY" in file.read(200)
    except OSError:
        return False


@click.group(cls=Group)
def keys() -> None:
    """Make signing keys and look at them."""


@keys.command(
    cls=Command,
    examples=[
        "guildbook keys new till.key",
        "guildbook keys new approver.key --passphrase",
        "GUILDBOOK_KEY_PASSPHRASE=... guildbook keys new approver.key --passphrase --json",
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--passphrase",
    "wanted",
    is_flag=True,
    help="Encrypt the file; asks for the passphrase, or takes it from GUILDBOOK_KEY_PASSPHRASE.",
)
@click.pass_obj
def new(terminal: Terminal, file: Path, wanted: bool) -> None:
    """Make a signing key and write it to the new FILE, readable by you alone."""
    from guildbook.client.keyfile import new_key, write_key

    passphrase = None
    if wanted:
        passphrase = os.environ.get(PASSPHRASE_VARIABLE) or click.prompt(
            "new passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    key = new_key()
    write_key(file, key, passphrase)
    document = _described(file, key_text(key.public_key))
    terminal.answer(
        document,
        [
            f"wrote {file}",
            f"public key: {document['key']}",
            ENCRYPTED_NOTE if wanted else PLAIN_NOTE,
            "An administrator of your organisation registers it for a party, with what `guildbook keys prove` prints.",
        ],
    )


@keys.command(
    cls=Command,
    examples=["guildbook keys prove till.key --network alliance --party till"],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--network", required=True, help="The id of the network on which the key will be registered.")
@click.option("--party", required=True, help="The party for which it will be registered.")
@click.pass_obj
def prove(terminal: Terminal, file: Path, network: str, party: str) -> None:
    """Prove that you possess the key in FILE, as its registration asks: prints the proof, and the key as bytes.

    They are the arguments proof and public_key of parties.register_party, add_key, rotate_key and
    admit_organisation. The proof is good for this network and this party alone, and is no secret.
    """
    from guildbook.contract.keys import possession_statement
    from guildbook.primitives.identifiers import check_code, check_network_id

    key = signing_key(file)
    statement = possession_statement(check_network_id(network), check_code(party, "party"), key.public_key)
    proof = key.sign(statement).hex()
    document = {"network": network, "party": party, "public_key": key.public_key.hex(), "proof": proof}
    terminal.answer(document, [f"public_key={document['public_key']}", f"proof={proof}"])


@keys.command(cls=Command, examples=["guildbook keys show till.key", "guildbook keys show till.key --json"])
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def show(terminal: Terminal, file: Path) -> None:
    """Show the public key of the key in FILE; the secret is never shown."""
    text = key_text(signing_key(file).public_key)
    terminal.answer(_described(file, text), text)


@keys.command(
    "list", cls=Command, examples=["guildbook keys list alliance/keys", "guildbook keys list . --json"]
)
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.pass_obj
def list_keys(terminal: Terminal, folder: Path) -> None:
    """List the key files in FOLDER (default: here) with their public keys."""
    from guildbook.client.keyfile import read_key

    place = folder / "keys" if (folder / "keys").is_dir() else folder
    found = []
    for file in sorted(place.iterdir())[:KEY_FILES_MAX]:
        if file.suffix != ".key" or not file.is_file():
            continue
        if is_encrypted(file):
            found.append(_described(file, "") | {"note": "under a passphrase"})
            continue
        try:
            found.append(_described(file, key_text(read_key(file).public_key)) | {"note": ""})
        except GuildbookError as error:
            found.append(_described(file, "") | {"note": error.message})
    rows = [[Path(one["file"]).name, one["key"] or one["note"]] for one in found]
    terminal.answer(
        {"folder": str(place), "keys": found},
        table_lines(["file", "public key"], rows) if rows else f"no key files (*.key) in {place}",
    )


def _described(file: Path, text: str) -> dict[str, Any]:
    return {
        "file": str(file),
        "algorithm": text.partition(":")[0],
        "key": text,
        "encrypted": is_encrypted(file),
    }
