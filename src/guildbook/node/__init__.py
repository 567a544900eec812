"""A node: configuration, logging, metrics, start and stop. The only place that wires everything."""

from guildbook.node.config import NodeConfig, read_config
from guildbook.node.folder import Founding, NodeFolder, complete_node, found_node, make_node, running_node
from guildbook.node.node import EXIT_HALTED, Node, open_node

__all__ = [
    "EXIT_HALTED",
    "Founding",
    "Node",
    "NodeConfig",
    "NodeFolder",
    "complete_node",
    "found_node",
    "make_node",
    "open_node",
    "read_config",
    "running_node",
]
