"""A running node that gives up old blocks as new ones come, in a thread of its own."""

import logging
import threading
from typing import Protocol

from guildbook.chain.ledger import Ledger
from guildbook.chain.pruning import KEPT_BLOCKS_MIN, prune
from guildbook.primitives.errors import GuildbookError

EVERY_BLOCKS = 256
"""How many new blocks make it worth while to look."""

_log = logging.getLogger("guildbook.node")


class Followed(Protocol):
    """A node whose ledger others follow."""

    ledger: Ledger

    @property
    def followed_height(self) -> int:
        """The last height that nobody needs the changes of any more."""


class Pruner:
    """Keeps the last ``retain_blocks`` of a node, and what its views have not taken yet."""

    def __init__(self, node: Followed, retain_blocks: int, every_blocks: int = EVERY_BLOCKS) -> None:
        self._node = node
        self._retain = max(retain_blocks, KEPT_BLOCKS_MIN)
        self._every = every_blocks
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pruner", daemon=True)

    def start(self) -> None:
        """Start."""
        self._wake.set()
        self._thread.start()

    def on_block(self, height: int) -> None:
        """There is a new block."""
        if height % self._every == 0:
            self._wake.set()

    def stop(self) -> None:
        """Finish the batch, and stop."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._prune()
            except (GuildbookError, OSError) as error:
                _log.error("old blocks were not given up: %s", error)

    def _prune(self) -> None:
        followed = self._node.followed_height
        view = self._node.ledger.view()
        keep = max(self._retain, view.head.height - followed + 1)
        before = view.kept_from
        first = prune(self._node.ledger.store, view, keep)
        if first > before:
            _log.info("old blocks were given up", extra={"first_kept": first})
