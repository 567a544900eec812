"""State sync: a node that joins takes a snapshot from its peers, chunk by chunk, as its engine fetches it.

The engine trusts a header, asks peers for snapshots of its height, and hands over what they send. Every chunk is
verified here before it is written; the sender of a wrong one is named, so that nothing more is taken from it.
"""

import logging
from collections.abc import Sequence

from guildbook.chain.ledger import Ledger
from guildbook.chain.snapshot import SNAPSHOT_FORMAT, Restore, read_metadata, snapshot_hash
from guildbook.engine.abci import messages_pb2 as pb
from guildbook.engine.abci.application import ChunkAnswer, OfferedSnapshot
from guildbook.node.snapshots import SnapshotStore
from guildbook.primitives.errors import GuildbookError

OFFERED_MAX = 10
"""Snapshots that a peer is told of; the engine asks no peer for more."""

_log = logging.getLogger("guildbook.snapshots")


class StateSync:
    """The snapshots of ``store`` for others, and others' snapshots for ``ledger`` as long as it has no block."""

    def __init__(self, ledger: Ledger, store: SnapshotStore) -> None:
        self._ledger = ledger
        self._store = store
        self._restore: Restore | None = None

    def available(self) -> Sequence[OfferedSnapshot]:
        """See Snapshots."""
        return [OfferedSnapshot(*one) for one in self._store.list()[:OFFERED_MAX]]

    def chunk(self, height: int, form: int, index: int) -> bytes:
        """See Snapshots."""
        return self._store.load_chunk(height, form, index) or b""

    def offer(self, snapshot: OfferedSnapshot, app_hash: bytes) -> int:
        """See Snapshots."""
        if snapshot.format != SNAPSHOT_FORMAT:
            return int(pb.ResponseOfferSnapshot.REJECT_FORMAT)
        restore = Restore(self._ledger.store, self._ledger.registry, self._ledger.genesis.hash)
        try:
            if snapshot_hash(snapshot.metadata) != snapshot.hash:
                raise GuildbookError("snapshot.malformed", "the metadata is not what the snapshot's hash names")
            named = read_metadata(snapshot.metadata)
            if (named.height, named.chunks) != (snapshot.height, snapshot.chunks):
                raise GuildbookError("snapshot.malformed", "the offer names another height or number of chunks")
            metadata = restore.offer(snapshot.metadata, app_hash)
        except GuildbookError as error:
            _log.warning("a snapshot is refused: %s", error, extra={"height": snapshot.height})
            if error.code == "snapshot.not_empty":
                return int(pb.ResponseOfferSnapshot.ABORT)
            refused = pb.ResponseOfferSnapshot
            return int(refused.REJECT_FORMAT if error.code == "snapshot.wrong_format" else refused.REJECT)
        _log.info("a snapshot is being restored", extra={"height": metadata.height, "chunks": metadata.chunks})
        self._restore = restore
        return int(pb.ResponseOfferSnapshot.ACCEPT)

    def apply(self, index: int, chunk: bytes, sender: str) -> ChunkAnswer:
        """See Snapshots."""
        restore = self._restore
        if restore is None:
            return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.ABORT))
        try:
            restore.apply_chunk(index, chunk)
        except GuildbookError as error:
            if error.code != "snapshot.bad_chunk":
                raise
            _log.warning("a chunk of %s is refused: %s", sender, error)
            return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.RETRY), [index], [sender] if sender else [])
        if restore.missing:
            return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.ACCEPT))
        try:
            restore.finish()
        except GuildbookError as error:
            if not error.code.startswith("snapshot."):
                raise
            _log.error("the snapshot is refused: %s", error)
            restore.abandon()
            Ledger.create(self._ledger.store, self._ledger.genesis, self._ledger.registry)
            self._ledger.reload()
            self._restore = None
            return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.REJECT_SNAPSHOT))
        self._ledger.reload()
        self._restore = None
        _log.info("the snapshot is restored", extra={"height": self._ledger.head.height})
        return ChunkAnswer(int(pb.ResponseApplySnapshotChunk.ACCEPT))
