"""The committed state as one block's execution needs it: a reader, the tree, the log's edge, and cached rows."""

from guildbook.chain.head import Head
from guildbook.primitives.merkle_log import LogEdge
from guildbook.primitives.state_tree import StateTree
from guildbook.state.kv import Reader
from guildbook.state.overlay import GroupCache, RowCache


class State:
    """What ``apply_block`` reads. It changes only when the ledger commits a block."""

    def __init__(
        self,
        network: str,
        reader: Reader,
        tree: StateTree,
        edge: LogEdge,
        head: Head,
        cache: RowCache | None = None,
    ) -> None:
        self.network = network
        self.reader = reader
        self.tree = tree
        self.edge = edge
        self.head = head
        self.cache = cache if cache is not None else RowCache()
        self.groups = GroupCache()
