"""Fetching what the engine alone has: the bytes of each block that was run, and the signatures under it.

A thread follows the ledger: whatever height is run and not kept in full is asked of the engine beside this node,
written again in our own encoding, proven (``chain/keeping.py``) and stored. It takes up where it stopped, however long
the engine was away. Nothing waits for it but the export of evidence.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from guildbook.chain.keeping import heights_to_keep, kept_writes
from guildbook.chain.ledger import Ledger
from guildbook.engine.abci.rpc import EngineRpc, Question, RpcRefused
from guildbook.primitives.cometbft import NO_BLOCK, Block, BlockID, Commit, block_from_json, commit_from_json
from guildbook.primitives.errors import GuildbookError

BLOCKS_PER_EXCHANGE = 4
"""Two questions for each block, and an engine answers ten in one exchange."""
HEIGHTS_LOOKED_AT_MAX = 64
RETRY_S = 0.5
STATUS_S = 5.0
"""How often the engine is asked how it is, when nothing else happens."""
PRUNED = "lowest height"
"""What the engine says of a block that it has no more."""

_log = logging.getLogger("guildbook.engine")


class BlockKeeper:
    """Keeps the blocks of ``ledger`` in full, and knows how the engine is."""

    def __init__(
        self,
        ledger: Ledger,
        rpc: EngineRpc,
        *,
        on_halt: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self.kept_height = ledger.view().kept_height
        self.catching_up = False
        """Whether the engine is still fetching old blocks from others."""
        self.reachable = False
        """Whether the engine answered the last question."""
        self.lost: set[int] = set()
        """Heights whose blocks the engine has no more, or that are not what was run."""
        self._ledger = ledger
        self._rpc = rpc
        self._on_halt = on_halt
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="block-keeper", daemon=True)

    def start(self) -> None:
        """Begin with what is missing."""
        self._news.set()
        self._thread.start()

    def tell(self) -> None:
        """There is a new block, or the engine has come."""
        self._news.set()

    def stop(self) -> None:
        """Fetch what is left once more, where the engine still answers, and stop."""
        self._stopping = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        self._rpc.close()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001 - the thread's rim: the node must hear of it
            self._on_halt(error)

    def _follow(self) -> None:
        wait_s = STATUS_S
        while True:
            self._news.wait(wait_s)
            self._news.clear()
            stopping = self._stopping
            try:
                left = self._keep()
                if not stopping:
                    self._ask_status()
                self.reachable = True
                wait_s = RETRY_S if left else STATUS_S
            except GuildbookError as error:
                if error.code != "engine.unreachable":
                    _log.error("blocks cannot be kept now: %s", error)
                self.reachable = False
                wait_s = RETRY_S
            except RpcRefused as refused:
                _log.debug("the engine does not answer yet: %s", refused)
                wait_s = RETRY_S
            if stopping:
                return

    def _ask_status(self) -> None:
        found = self._rpc.ask("status").get("sync_info")
        self.catching_up = isinstance(found, dict) and bool(found.get("catching_up"))

    def _keep(self) -> bool:
        """Keep all that the engine has; returns whether something is left."""
        while True:
            view = self._ledger.view()
            heights = [one for one in heights_to_keep(view, HEIGHTS_LOOKED_AT_MAX) if one not in self.lost]
            heights = heights[:BLOCKS_PER_EXCHANGE]
            if not heights:
                return False
            answers = self._rpc.ask_all(
                [
                    Question(method, {"height": str(height)})
                    for height in heights
                    for method in ("block", "commit")
                ]
            )
            before: tuple[int, BlockID] | None = None
            writes: list[tuple[bytes, bytes | None]] = []
            kept = 0
            for height, block, commit in zip(heights, answers[::2], answers[1::2], strict=True):
                if before is None or before[0] != height - 1:
                    last = NO_BLOCK if height == 1 else None
                    earlier = view.commit(height - 1)
                    last = earlier.block_id if earlier is not None else last
                else:
                    last = before[1]
                refused = next((one for one in (block, commit) if isinstance(one, RpcRefused)), None)
                if refused is not None and PRUNED not in str(refused):
                    break
                try:
                    if refused is not None:
                        raise GuildbookError("engine.unreachable", f"the engine has it no more: {refused}")
                    identity, pairs = kept_writes(view, *_read(block, commit), last)
                except GuildbookError as error:
                    self.lost.add(height)
                    _log.error("block %d cannot be kept, and nothing in it be proven here: %s", height, error)
                    continue
                before = height, identity
                writes.extend(pairs)
                kept = height
            else:
                refused = None
            if writes:
                self._ledger.store.write(writes)
                self.kept_height = max(self.kept_height, kept)
            if refused is not None:
                return True


def _read(block: Any, commit: Any) -> tuple[Block, Commit]:
    """The block and commit in the engine's two answers; raises CometError."""
    signed = commit.get("signed_header")
    return block_from_json(block.get("block")), commit_from_json(
        signed.get("commit") if isinstance(signed, dict) else None
    )
