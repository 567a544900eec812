"""Witnesses: another house cosigns a log's checkpoints, and keeps the proof when the log shows two histories."""

import contextlib
import fcntl
import http.server
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guildbook.cli.command import Command, Group
from guildbook.cli.files import write_new_file
from guildbook.cli.keys import signing_key
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import GuildbookError

if TYPE_CHECKING:
    import httpx

    from guildbook.evidence.witness import SplitView, Witness

STATE_FILE = "witness.json"
TIMEOUT_S = 30
ROUNDS_FOR_EVER = 0


@click.group(cls=Group)
def witness() -> None:
    """Cosign checkpoints of a log that only grows, and prove it when one does not."""


@witness.command("key", cls=Command, examples=["guildbook witness key witness.key --name witness.example/w1"])
@click.argument("key_file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The witness's name, such as witness.example/w1.")
@click.option("--log", is_flag=True, help="The key as that of a log: for the validator's key of a node.")
@click.pass_obj
def show_key(terminal: Terminal, key_file: Path, name: str, log: bool) -> None:
    """Print the public key of KEY_FILE as others are given it (C2SP vkey)."""
    from guildbook.primitives.checkpoint import NoteKey
    from guildbook.primitives.cosignature import WitnessKey

    public = signing_key(key_file).public_key
    text = NoteKey(name, public).text() if log else WitnessKey(name, public).text()
    terminal.answer({"key": text}, text)


def _shared(function: Any) -> Any:
    for option in (
        click.option("--name", required=True, help="The witness's name, such as witness.example/w1."),
        click.option(
            "--key", "key_file", required=True, type=click.Path(path_type=Path), help="The witness's own secret key."
        ),
        click.option("--log-key", required=True, help="The log's public key (vkey), from a source of its own."),
        click.option(
            "--state",
            required=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="The witness's folder: what it saw last, and proofs of split views. Never lose it, never copy it.",
        ),
    ):
        function = option(function)
    return function


@witness.command(
    cls=Command,
    examples=[
        "guildbook witness cosign http://127.0.0.1:8440 --name witness.example/w1 --key witness.key "
        "--log-key guildbook/alliance+1f... --state w1",
    ],
)
@click.argument("url")
@_shared
@click.pass_obj
def cosign(terminal: Terminal, url: str, name: str, key_file: Path, log_key: str, state: Path) -> int:
    """Look once at the log of the node at URL, and cosign its checkpoint if it continues the last one seen.

    Prints the checkpoint with both signatures. Exit status 6: the log contradicts what it has signed before; both
    checkpoints are kept in the state folder.
    """
    with _opened(name, key_file, log_key, state) as one:
        note = _look(one, url, state)
    terminal.answer({"checkpoint": note.decode()}, note.decode().rstrip("\n").split("\n"))
    return 0


@witness.command(
    cls=Command,
    examples=[
        "guildbook witness run http://127.0.0.1:8440 --every 60 --listen 127.0.0.1:8450 --name witness.example/w1 "
        "--key witness.key --log-key guildbook/alliance+1f... --state w1",
    ],
)
@click.argument("url")
@_shared
@click.option(
    "--every",
    type=click.IntRange(1, 86_400),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait between two looks.",
)
@click.option("--rounds", type=click.IntRange(0), default=ROUNDS_FOR_EVER, help="Stop after so many looks; 0: never.")
@click.option("--listen", metavar="HOST:PORT", help="Serve checkpoint and add-checkpoint (C2SP tlog-witness) here.")
@click.pass_obj
def run(
    terminal: Terminal,
    url: str,
    name: str,
    key_file: Path,
    log_key: str,
    state: Path,
    every: int,
    rounds: int,
    listen: str | None,
) -> int:
    """Look at the log of the node at URL again and again. A split view ends it with exit status 6."""
    with _opened(name, key_file, log_key, state) as one:
        server = None if listen is None else _server(one, state, listen)
        done = 0
        try:
            while True:
                try:
                    size = _size(_look(one, url, state))
                    terminal.note(f"cosigned {size} entries")
                except GuildbookError as error:
                    if error.code == "witness.split_view":
                        raise
                    terminal.note(f"not cosigned: {error.message} [{error.code}]")
                done += 1
                if done == rounds:
                    return 0
                _wait(server, every)
        finally:
            if server is not None:
                server.server_close()


@witness.command(cls=Command, examples=["guildbook witness prove split-view.json --log-key guildbook/alliance+1f..."])
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--log-key", required=True, help="The log's public key (vkey), from a source of its own.")
@click.pass_obj
def prove(terminal: Terminal, file: Path, log_key: str) -> int:
    """Show that the two checkpoints in FILE, both signed by one log, exclude each other.

    Needs no node and no network. Exit status 0: the log has shown two histories; 6: the file does not prove it.
    """
    from guildbook.evidence.witness import SPLIT_SIZE_BYTES_MAX, prove_split, read_split
    from guildbook.primitives.checkpoint import parse_note_key

    with file.open("rb") as stream:
        split = read_split(stream.read(SPLIT_SIZE_BYTES_MAX + 1))
    first, second = prove_split(split, parse_note_key(log_key))
    terminal.answer(
        {
            "split_view": True,
            "log": first.origin,
            "first": {"size": first.size, "root": first.root.hex()},
            "second": {"size": second.size, "root": second.root.hex()},
            "root_of_the_second_at_the_first_size": split.older_root.hex() or second.root.hex(),
        },
        [
            f"SPLIT VIEW: {first.origin} has signed two histories",
            f"  {first.size} entries with root {first.root.hex()}",
            f"  {second.size} entries with root {second.root.hex()}",
            *(
                [f"  and the second had the root {split.older_root.hex()} at {first.size} entries"]
                if split.older_root
                else []
            ),
        ],
    )
    return 0


# parts -----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(name: str, key_file: Path, log_key: str, state: Path) -> Iterator["Witness"]:
    """The witness with what it saw last. Its folder is one process's alone."""
    from guildbook.evidence.witness import Witness, read_state
    from guildbook.primitives.checkpoint import parse_note_key

    log = parse_note_key(log_key)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GuildbookError(
                "store.locked", f"another witness uses {state}", hint="stop it first", path=str(state)
            ) from None
        place = state / STATE_FILE
        seen = read_state(place.read_bytes()) if place.exists() else {}
        yield Witness(name, signing_key(key_file), {log.name: log}, seen)
    finally:
        os.close(descriptor)


def _look(one: "Witness", url: str, state: Path) -> bytes:
    """Fetch the log's checkpoint and what shows that it continues the last one; the cosigned note, kept already."""
    import httpx

    from guildbook.evidence.witness import SplitFound
    from guildbook.primitives.checkpoint import parse_checkpoint, parse_note
    from guildbook.primitives.merkle_log import LogReader

    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
            data = _fetched(client, "/v1/log/checkpoint")
            new = parse_checkpoint(parse_note(data).text)
            before = one.last(new.origin)
            old_root, proof = None, []
            if before is not None and 0 < before.size < new.size:
                reader = LogReader(_Tiles(client, new.size), new.size)
                if reader.root() == new.root:
                    old_root = reader.root(before.size)
                proof = reader.consistency_proof(before.size)
    except httpx.HTTPError as error:
        raise GuildbookError(
            "client.unreachable", f"{url} does not answer: {error}", hint="check the address and that the node runs"
        ) from None
    previous = dict(one.seen)
    try:
        note = one.consider(data, old_root, tuple(proof), int(time.time()))
    except SplitFound as found:
        _keep_split(found.split, state)
        raise
    try:
        _keep_state(one, state)
    except BaseException:
        one.seen = previous  # nothing was promised
        raise
    return note.encode()


class _Tiles:
    """The tiles of a node's log over HTTP, as far as the log of `size` has them."""

    def __init__(self, client: "httpx.Client", size: int) -> None:
        self._client = client
        self._size = size
        self._kept: dict[bytes, bytes] = {}

    def __call__(self, key: bytes) -> bytes | None:
        from guildbook.primitives.merkle_log import tile_path, tile_width

        if key not in self._kept:
            level, index = key[0], int.from_bytes(key[1:], "big")
            path = tile_path(level, index, tile_width(level, index, self._size))
            self._kept[key] = _fetched(self._client, f"/v1/log/{path}")
        return self._kept[key]


def _fetched(client: "httpx.Client", path: str) -> bytes:
    response = client.get(path)
    if response.status_code != 200:
        raise GuildbookError(
            "client.unreachable",
            f"{path} is answered with status {response.status_code}",
            hint="check that the address is that of a node",
        )
    return response.content


def _size(note: bytes) -> int:
    from guildbook.primitives.checkpoint import parse_checkpoint, parse_note

    return parse_checkpoint(parse_note(note).text).size


def _keep_state(one: "Witness", state: Path) -> None:
    """Make what was seen durable, in one step."""
    draft = state / f".{STATE_FILE}.new"
    with draft.open("wb") as file:
        file.write(one.state())
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, state / STATE_FILE)
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_split(split: "SplitView", state: Path) -> None:
    """Keep a split view under the name of its content, once."""
    from guildbook.primitives.hashing import sha256

    data = split.to_json()
    place = state / f"split-view-{sha256(data).hex()[:16]}.json"
    if not place.exists():
        write_new_file(place, data)


def _server(one: "Witness", state: Path, listen: str) -> http.server.HTTPServer:
    """A server for others, which is asked in the witness's own thread between two looks."""
    from guildbook.evidence.witness import REQUEST_SIZE_BYTES_MAX

    host, _colon, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"{listen} is not HOST:PORT")

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            """The cosigned checkpoint."""
            found = next(iter(one.seen.values()), None)
            if self.path != "/checkpoint" or found is None:
                self._answer(404, "text/plain", b"nothing here\n")
            else:
                self._answer(200, "text/plain; charset=utf-8", found)

        def do_POST(self) -> None:
            """The add-checkpoint call of C2SP tlog-witness."""
            length = self.headers.get("content-length", "")
            if self.path != "/add-checkpoint":
                self._answer(404, "text/plain", b"nothing here\n")
            elif not length.isdigit() or int(length) > REQUEST_SIZE_BYTES_MAX:
                self._answer(413, "text/plain", b"too long\n")
            else:
                previous = dict(one.seen)
                answer, split = one.add_checkpoint(self.rfile.read(int(length)), int(time.time()))
                if split is not None:
                    _keep_split(split, state)
                if one.seen != previous:
                    _keep_state(one, state)
                self._answer(*answer)

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing: what was cosigned is in the state."""

    return http.server.HTTPServer((host, int(port)), Handler)


def _wait(server: http.server.HTTPServer | None, seconds: float) -> None:
    """Wait for the next look, answering others meanwhile."""
    if server is None:
        time.sleep(seconds)
        return
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        server.timeout = left
        with contextlib.suppress(OSError):
            server.handle_request()


