"""Asking a running engine how it is, over the socket in its home folder.

Only what an operator looks at is read here: its own state and its peers.
"""

import http.client
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from guildbook.engine.cometbft.home import RPC_SOCKET, EngineHome
from guildbook.primitives.errors import GuildbookError

TIMEOUT_S = 10.0
ANSWER_SIZE_BYTES_MAX = 64 << 20


class EnginePeer(msgspec.Struct, frozen=True):
    """Another engine that this one is connected to, as it says itself."""

    id: str
    name: str
    version: str
    network: str
    address: str


class EngineStatus(msgspec.Struct, frozen=True):
    """Where an engine stands. ``power`` is 0 for a node without a vote; ``catching_up`` while it fetches old blocks."""

    id: str
    network: str
    version: str
    height: int
    catching_up: bool
    power: int


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket in a folder, by a name that is short enough whatever the length of the folder's path."""

    def __init__(self, folder: Path, name: str, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._place = (folder, name)

    def connect(self) -> None:
        """Connect to the socket; OSError when nobody listens."""
        folder, name = self._place
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(self.timeout)
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(descriptor)
        self.sock = connection


class EngineRpc:
    """The interface of the engine whose home folder is ``home``; each question is a connection of its own."""

    def __init__(self, home: EngineHome, timeout_s: float = TIMEOUT_S) -> None:
        self._home = home
        self._timeout_s = timeout_s

    def ask(self, method: str, **arguments: str) -> Any:
        """The result of a method of the engine's interface. Raises GuildbookError ``engine.unreachable``."""
        connection = _SocketConnection(self._home.path, RPC_SOCKET, self._timeout_s)
        try:
            connection.request("GET", f"/{method}?{urlencode(arguments)}")
            document = msgspec.json.decode(connection.getresponse().read(ANSWER_SIZE_BYTES_MAX))
            if document.get("error"):
                raise self._unreachable(
                    f"it refused {method}: {document['error'].get('data') or document['error']}"
                )
            return document["result"]
        except (OSError, http.client.HTTPException, msgspec.DecodeError, AttributeError, KeyError) as error:
            raise self._unreachable(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()

    def status(self) -> EngineStatus:
        """Where the engine stands. Raises GuildbookError ``engine.unreachable``."""
        found = self.ask("status")
        node, sync = found["node_info"], found["sync_info"]
        return EngineStatus(
            id=node["id"], network=node["network"], version=node["version"],
            height=int(sync["latest_block_height"]), catching_up=bool(sync["catching_up"]),
            power=int(found["validator_info"]["voting_power"]),
        )  # fmt: skip

    def peers(self) -> list[EnginePeer]:
        """The engines that this one is connected to, by id. Raises GuildbookError ``engine.unreachable``."""
        found = self.ask("net_info")["peers"]
        return sorted(
            (
                EnginePeer(
                    id=one["node_info"]["id"], name=one["node_info"]["moniker"], version=one["node_info"]["version"],
                    network=one["node_info"]["network"], address=one["remote_ip"],
                )
                for one in found
            ),
            key=lambda one: one.id,
        )  # fmt: skip

    def _unreachable(self, why: str) -> GuildbookError:
        return GuildbookError(
            "engine.unreachable",
            f"the engine in {self._home.path} does not answer: {why}",
            hint=f"see whether the node runs, and its log {self._home.log}",
        )
