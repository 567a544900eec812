"""Asking a running engine how it is, over the socket in its home folder.

Only what an operator looks at is read here: its own state and its peers.
"""

from typing import Any

import msgspec

from guildbook.engine.abci.rpc import EngineRpc, RpcRefused
from guildbook.engine.cometbft.home import EngineHome
from guildbook.primitives.errors import GuildbookError

TIMEOUT_S = 10.0


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


class EngineView:
    """What the engine whose home folder is ``home`` says of itself. Raises GuildbookError ``engine.unreachable``."""

    def __init__(self, home: EngineHome, timeout_s: float = TIMEOUT_S) -> None:
        self._home = home
        self._rpc = EngineRpc(home.rpc_socket, timeout_s)

    def ask(self, method: str, **arguments: str) -> Any:
        """The result of a method of the engine's interface."""
        try:
            return self._rpc.ask(method, **arguments)
        except RpcRefused as error:
            raise self._unreachable(f"it refused {method}: {error}") from None
        except GuildbookError as error:
            raise self._unreachable(error.message) from None
        finally:
            self._rpc.close()

    def status(self) -> EngineStatus:
        """Where the engine stands."""
        found = self.ask("status")
        node, sync = found["node_info"], found["sync_info"]
        return EngineStatus(
            id=node["id"], network=node["network"], version=node["version"],
            height=int(sync["latest_block_height"]), catching_up=bool(sync["catching_up"]),
            power=int(found["validator_info"]["voting_power"]),
        )  # fmt: skip

    def peers(self) -> list[EnginePeer]:
        """The engines that this one is connected to, by id."""
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
