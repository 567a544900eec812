"""Exporting evidence from the ledger of this process: one file for a receipt, a row, an absence or a range.

The state is proven as it is after the last block, and a header states that only once the next block is there. A
rested ledger has that block within milliseconds, so an export waits for it a little.
"""

import time
from typing import Any

from guildbook.chain.ledger import View
from guildbook.client.reader import LedgerReader
from guildbook.evidence.build import range_evidence, receipt_evidence, row_evidence
from guildbook.evidence.source import LedgerSource
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.ordered import prefix_end

PROOF_WAIT_S = 2.0
PROOF_POLL_S = 0.02


class Prover:
    """Evidence files of one ledger. Safe in any thread."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader

    def _source(self) -> tuple[View, LedgerSource]:
        """The newest view, with the header that states its state where that comes in time."""
        view = self._reader.view()
        later = view
        deadline = time.monotonic() + PROOF_WAIT_S
        wanted = view.head.height + (1 if view.head.needs_proof_block else 0)
        while later.kept_height < wanted:
            if time.monotonic() > deadline:
                break
            time.sleep(PROOF_POLL_S)
            later = self._reader.view()
        return view, LedgerSource(view, later)

    def receipt(self, transaction: bytes) -> bytes:
        """That the receipt of ``transaction`` (32 bytes) is in the log. Raises ``evidence.not_available``."""
        _view, source = self._source()
        return receipt_evidence(source, transaction)

    def row(self, table: str, key: list[Any]) -> bytes:
        """That the row with this primary key is in the state.

        Raises GuildbookError ``api.not_found`` or ``evidence.not_available``.
        """
        view, source = self._source()
        ordered = self._reader.ordered_key(view, table, key)
        if source.row(table, ordered) is None:
            raise GuildbookError(
                "api.not_found",
                f"{table} has no row with this key",
                table=table,
                absent=True,
                hint="evidence that there is none: guildbook prove absence, or /v1/evidence/absence",
            )
        return row_evidence(source, table, ordered)

    def absence(self, table: str, key: list[Any]) -> bytes:
        """That no row with this primary key is in the state.

        Raises GuildbookError ``evidence.not_available``, also where there is such a row.
        """
        view, source = self._source()
        ordered = self._reader.ordered_key(view, table, key)
        if source.row(table, ordered) is not None:
            raise GuildbookError(
                "evidence.not_available",
                f"{table} has a row with this key",
                table=table,
                hint="evidence of the row: guildbook prove row, or /v1/evidence/row",
            )
        return row_evidence(source, table, ordered)

    def range(self, table: str, prefix: list[Any]) -> bytes:
        """That the rows whose key begins with ``prefix`` are these and no others.

        Raises GuildbookError ``evidence.not_available``.
        """
        view, source = self._source()
        start = self._reader.ordered_key(view, table, prefix, whole=False)
        return range_evidence(source, table, start, prefix_end(start) if start else None)
