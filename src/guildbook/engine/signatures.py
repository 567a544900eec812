"""Signature checks in worker processes, because one check costs more than everything else a transaction needs.

Workers get raw parts and answer with one byte each. A few signatures are checked on the spot: handing them over
would take longer than checking. When workers die, checks go on in this process and the workers are started again.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from guildbook.chain.transaction import SIGN_PREFIX, Transaction
from guildbook.primitives.keys import verify

ON_THE_SPOT_MAX = 12
CHUNK_SIGNATURES_MAX = 512

Part = tuple[bytes, bytes, bytes]


def check_parts(parts: Sequence[Part]) -> bytes:
    """One byte for each (key, body, signature): 1 where the signature holds, else 0."""
    return bytes(verify(key, SIGN_PREFIX + body, signature) for key, body, signature in parts)


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that this thread begins in the block never get Ctrl-C, not even while they start."""
    multiprocessing.resource_tracker.ensure_running()  # begun in the block, it would let the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Ctrl-C reaches a whole group of processes; the node alone decides what then becomes of its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A node that was killed cannot stop its workers: they end by themselves."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(0)


class SignatureChecker:
    """Checks signatures in ``workers`` processes (0: always in this one)."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(
            self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
        )
        with deaf_to_ctrl_c():
            for _ in range(self._workers):
                self._pool.submit(check_parts, [])

    def submit(self, transactions: Sequence[Transaction]) -> "Future[bytes]":
        """A future of one byte for each transaction: 1 where its signature holds."""
        parts = [(one.body.key, one.body_bytes, one.signature) for one in transactions]
        if self._pool is not None and len(parts) > ON_THE_SPOT_MAX:
            try:
                return self._pool.submit(check_parts, parts)
            except (BrokenProcessPool, RuntimeError):
                self._pool.shutdown(wait=False)
                self._start()
        done: Future[bytes] = Future()
        done.set_result(check_parts(parts))
        return done

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
