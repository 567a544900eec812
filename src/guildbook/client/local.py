"""The client inside the process: the same interface on an engine and its ledger, without HTTP.

Demonstrations, tests and embedded ledgers use it; what runs here runs unchanged against a node.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Protocol

from guildbook.client.base import POLL_S, TIMEOUT_S, LedgerClient, Submitted, applied
from guildbook.client.catalogue import CatalogueDocument
from guildbook.client.documents import (
    BlockDocument,
    EventDocument,
    Position,
    QueryAnswer,
    ReceiptDocument,
    RowDocument,
    RowsDocument,
    SqlAnswer,
    StatusDocument,
    parse_position,
)
from guildbook.client.prover import Prover
from guildbook.client.reader import LedgerReader, matches
from guildbook.engine.desk import Answer, Engine
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey


class SqlSource(Protocol):
    """What answers SQL: the views inside the process, or in their own."""

    def __call__(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any],
        *,
        at: int | None,
        wait_for: int | None,
        limit: int | None,
    ) -> SqlAnswer:
        """The rows of one SELECT."""


class LocalClient(LedgerClient):
    """A client of the ledger in this process.

    ``sql`` answers SQL where views are kept; ``reader`` may be shared between clients of one ledger.
    """

    def __init__(
        self,
        engine: Engine,
        key: SigningKey | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        sql: SqlSource | None = None,
        reader: LedgerReader | None = None,
    ) -> None:
        super().__init__(key, timeout_s=timeout_s)
        self._engine = engine
        self._sql = sql
        self._reader = reader if reader is not None else LedgerReader(engine.ledger)
        self._prover = Prover(self._reader)

    def with_key(self, key: SigningKey | None) -> "LocalClient":
        """See LedgerClient."""
        made = LocalClient(self._engine, key, timeout_s=self.timeout_s, sql=self._sql, reader=self._reader)
        made._catalogue, made._status = self._catalogue, self._status
        return made

    # writing -----------------------------------------------------------------------------------------------------

    def _answers(self, envelopes: Sequence[bytes]) -> list[Answer]:
        try:
            return self._engine.submit(envelopes).result(self.timeout_s)
        except FutureTimeout:
            raise GuildbookError(
                "client.timeout",
                f"{len(envelopes)} transactions had no answer after {self.timeout_s} s",
                hint="send the same bytes again until they have one or are no longer valid",
            ) from None

    def submit(self, envelope: bytes) -> ReceiptDocument:
        """See LedgerClient."""
        answer = self._answers([envelope])[0]
        if answer.error is not None:
            raise answer.error
        receipt = self.receipt(answer.transaction)
        assert receipt is not None, answer.transaction.hex()
        return applied(receipt)

    def batch(self, envelopes: Sequence[bytes]) -> list[Submitted]:
        """See LedgerClient."""
        return [
            Submitted(one.transaction, one.receipt, None if one.error is None else one.error.code)
            for one in self._answers(envelopes)
        ]

    # reading -----------------------------------------------------------------------------------------------------

    def status(self) -> StatusDocument:
        """See LedgerClient."""
        return self._reader.status()

    def fetch_catalogue(self) -> CatalogueDocument:
        """See LedgerClient."""
        return self._reader.catalogue()

    def receipt(self, transaction: bytes | str) -> ReceiptDocument | None:
        """See LedgerClient."""
        return self._reader.receipt(_id(transaction))

    def block(self, height: int) -> BlockDocument:
        """See LedgerClient."""
        return self._reader.block(height)

    def rows(self, table: str, *prefix: Any, limit: int = 100, after: str | None = None) -> RowsDocument:
        """See LedgerClient."""
        return self._reader.rows(table, list(prefix), limit, after)

    def row(self, table: str, *key: Any) -> RowDocument | None:
        """See LedgerClient."""
        try:
            return self._reader.row(table, list(key))
        except GuildbookError as error:
            if error.code == "api.not_found" and error.fields.get("absent"):
                return None
            raise

    def ask(self, full_name: str, *positional: Any, **named: Any) -> QueryAnswer:
        """See LedgerClient."""
        return self._reader.query(full_name, list(positional), named)

    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        at: int | None = None,
        wait_for: int | None = None,
        limit: int | None = None,
    ) -> SqlAnswer:
        """See LedgerClient."""
        if self._sql is None:
            raise GuildbookError("api.unavailable", "this ledger keeps no views", hint="open it with views")
        return self._sql(statement, parameters, at=at, wait_for=wait_for, limit=limit)

    def events(
        self,
        from_: str | None = None,
        *,
        contract: str | None = None,
        event: str | None = None,
        follow: bool = True,
    ) -> Iterator[EventDocument]:
        """See LedgerClient."""
        start = (
            parse_position(from_) if from_ is not None else Position(self._engine.ledger.head.height + 1, 0)
        )
        while True:
            view = self._reader.view()
            for height in range(start.height, view.head.height + 1):
                for one in self._reader.events_of(view, height):
                    if (height > start.height or one.index >= start.index) and matches(one, contract, event):
                        yield one
            start = max(start, Position(view.head.height + 1, 0))
            if not follow:
                return
            time.sleep(POLL_S)

    # evidence ----------------------------------------------------------------------------------------------------

    def evidence_receipt(self, transaction: bytes | str) -> bytes:
        """See LedgerClient."""
        return self._prover.receipt(_id(transaction))

    def evidence_row(self, table: str, *key: Any) -> bytes:
        """See LedgerClient."""
        return self._prover.row(table, list(key))

    def evidence_absence(self, table: str, *key: Any) -> bytes:
        """See LedgerClient."""
        return self._prover.absence(table, list(key))

    def evidence_range(self, table: str, *prefix: Any) -> bytes:
        """See LedgerClient."""
        return self._prover.range(table, list(prefix))


def _id(transaction: bytes | str) -> bytes:
    return bytes.fromhex(transaction) if isinstance(transaction, str) else transaction
