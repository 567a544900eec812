"""CometBFT as a program beside the node: obtaining it, writing its home folder, running it, and asking it how it is.

What travels between it and the ledger (blocks, transactions, snapshots) is not in here: that is the application
interface, ``guildbook.engine.abci``. Nothing in here decides what a transaction does.
"""

from guildbook.engine.cometbft.binary import COMPATIBLE, PINNED, find_binary, obtain_binary
from guildbook.engine.cometbft.home import EngineHome, Peer, Timing, engine_address, write_home
from guildbook.engine.cometbft.process import EngineProcess
from guildbook.engine.cometbft.supervisor import EngineSupervisor
from guildbook.engine.cometbft.view import EngineView

__all__ = [
    "COMPATIBLE",
    "PINNED",
    "EngineHome",
    "EngineProcess",
    "EngineSupervisor",
    "EngineView",
    "Peer",
    "Timing",
    "engine_address",
    "find_binary",
    "obtain_binary",
    "write_home",
]
