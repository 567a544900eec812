"""What every client does alike, wherever the ledger is: bind names, sign, hand in, wait, and say what came of it.

Why resubmitting is safe. A transaction's id is a function of its body, and the ledger remembers the ids of what
reached its calls. So a client that does not know whether its bytes arrived sends the same bytes again, until it has a
receipt or the last valid height has passed; it never signs a second transaction for the same intent.
"""

import abc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from guildbook.chain.transaction import build_transaction, decode_transaction
from guildbook.client.catalogue import CatalogueDocument, bind_named
from guildbook.client.documents import (
    BlockDocument,
    EventDocument,
    QueryAnswer,
    ReceiptDocument,
    RowDocument,
    RowsDocument,
    SqlAnswer,
    StatusDocument,
)
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.keys import SigningKey, key_text

NONCE_SIZE_BYTES = 16
VALIDITY_BLOCKS = 5_000
"""How many blocks ahead of the last known height a transaction stays valid, where the network allows as many."""
HEIGHT_AGE_S_MAX = 5.0
"""How old the last known height may be when it dates a transaction."""
TIMEOUT_S = 30.0
"""How long a client tries before it gives up."""
POLL_S = 0.05

Calls = Sequence[tuple[str, Mapping[str, Any]]]
"""(``contract.command``, arguments by name) of each call."""


class TransactionRefused(GuildbookError):
    """The ledger refused a transaction; ``receipt`` says where that is recorded."""

    def __init__(self, receipt: ReceiptDocument) -> None:
        super().__init__(receipt.code, receipt.message, hint=receipt.next_step, **receipt.fields)
        self.receipt = receipt


class Submitted(NamedTuple):
    """What became of one envelope of a batch: its id (empty when it could not be read), its canonical receipt, or the
    code of the error that kept it out of the ledger.
    """

    transaction: bytes
    receipt: bytes | None
    code: str | None


class LedgerClient(abc.ABC):
    """Calls, reads and proofs on one ledger, signed with one key. Safe in several threads.

    ``key`` may be None for a client that only reads. ``timeout_s`` bounds each operation, in seconds.
    """

    def __init__(self, key: SigningKey | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self.key = key
        self.timeout_s = timeout_s
        self._catalogue: CatalogueDocument | None = None
        self._status: tuple[float, StatusDocument] | None = None

    # what the place of the ledger decides ------------------------------------------------------------------------

    @abc.abstractmethod
    def status(self) -> StatusDocument:
        """Where the ledger stands."""

    @abc.abstractmethod
    def fetch_catalogue(self) -> CatalogueDocument:
        """The catalogue as it is now."""

    @abc.abstractmethod
    def submit(self, envelope: bytes) -> ReceiptDocument:
        """Hand in a signed envelope and wait for its receipt, resubmitting the same bytes as often as needed.

        Raises TransactionRefused with the receipt of a refusal, and GuildbookError for what kept it out of the ledger;
        ``client.timeout`` means that its fate is not known yet.
        """

    @abc.abstractmethod
    def batch(self, envelopes: Sequence[bytes]) -> list[Submitted]:
        """Hand in envelopes together and wait for all of them; answers in the same order."""

    @abc.abstractmethod
    def receipt(self, transaction: bytes | str) -> ReceiptDocument | None:
        """The receipt of a transaction by its id, or None while there is none."""

    @abc.abstractmethod
    def block(self, height: int) -> BlockDocument:
        """The block of ``height``; raises GuildbookError ``api.not_found``."""

    @abc.abstractmethod
    def rows(self, table: str, *prefix: Any, limit: int = 100, after: str | None = None) -> RowsDocument:
        """A page of the rows of ``contract.table`` whose key begins with ``prefix``, in key order."""

    @abc.abstractmethod
    def row(self, table: str, *key: Any) -> RowDocument | None:
        """The row of ``contract.table`` with this primary key, or None."""

    @abc.abstractmethod
    def ask(self, full_name: str, *positional: Any, **named: Any) -> QueryAnswer:
        """The answer of ``contract.query`` with the height that it reflects."""

    @abc.abstractmethod
    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        at: int | None = None,
        wait_for: int | None = None,
        limit: int | None = None,
    ) -> SqlAnswer:
        """The rows of one SELECT over the views: as of height ``at``, and not before the views hold ``wait_for``."""

    @abc.abstractmethod
    def events(
        self,
        from_: str | None = None,
        *,
        contract: str | None = None,
        event: str | None = None,
        follow: bool = True,
    ) -> Iterator[EventDocument]:
        """Events in order, each exactly once: from position ``HEIGHT.INDEX`` (None: those to come).

        With ``follow`` the iteration waits for more, across losses of the connection; without, it ends at the last
        block.
        """

    @abc.abstractmethod
    def evidence_receipt(self, transaction: bytes | str) -> bytes:
        """An evidence file that this transaction's receipt is in the log."""

    @abc.abstractmethod
    def evidence_row(self, table: str, *key: Any) -> bytes:
        """An evidence file that this row is in the state."""

    @abc.abstractmethod
    def evidence_absence(self, table: str, *key: Any) -> bytes:
        """An evidence file that no row with this key is in the state."""

    @abc.abstractmethod
    def evidence_range(self, table: str, *prefix: Any) -> bytes:
        """An evidence file with all rows whose key begins with ``prefix``, and that there are no others."""

    @abc.abstractmethod
    def with_key(self, key: SigningKey | None) -> "LedgerClient":
        """A client of the same ledger that signs with ``key``."""

    def close(self) -> None:  # noqa: B027 - a client that holds nothing has nothing to release
        """Release connections. Closing twice is allowed."""

    # what is the same everywhere ---------------------------------------------------------------------------------

    @property
    def catalogue(self) -> CatalogueDocument:
        """The catalogue as last fetched; ``refresh`` fetches it again."""
        if self._catalogue is None:
            self._catalogue = self.fetch_catalogue()
        return self._catalogue

    def refresh(self) -> None:
        """Forget what was learned of catalogue and height, as after a new contract version."""
        self._catalogue = None
        self._status = None

    def _dated(self) -> tuple[str, int]:
        """(network, last valid height) for a transaction that is signed now."""
        now = time.monotonic()
        if self._status is None or now - self._status[0] > HEIGHT_AGE_S_MAX:
            self._status = (now, self.status())
        status = self._status[1]
        return status.network, status.height + min(VALIDITY_BLOCKS, status.validity_blocks_max)

    def sign(self, calls: Calls, *, valid_until: int | None = None, nonce: bytes | None = None) -> bytes:
        """A signed envelope of ``calls``, all or nothing.

        ``valid_until`` is the last height at which it may be in a block; ``nonce`` (8 to 32 bytes) tells apart
        transactions that are otherwise equal, and is random unless it is given. Raises GuildbookError
        ``call.bad_arguments`` and, without a key, ``transaction.unknown_key``.
        """
        bound = []
        for full_name, named in calls:
            document = self._command(full_name)
            bound.append(
                (document.contract, document.name, bind_named(document.arguments, (), named, full_name))
            )
        return self._sign_bound(bound, valid_until, nonce)

    def _command(self, full_name: str) -> Any:
        try:
            return self.catalogue.command(full_name)
        except GuildbookError:
            self._catalogue = None  # a contract that was released since then is known to the node already
            return self.catalogue.command(full_name)

    def _sign_bound(
        self, calls: list[tuple[str, str, list[Any]]], valid_until: int | None, nonce: bytes | None
    ) -> bytes:
        if self.key is None:
            raise GuildbookError(
                "transaction.unknown_key",
                "this client has no key to sign with",
                hint="give the client a signing key",
            )
        network, until = self._dated()
        return build_transaction(
            network,
            self.key,
            until if valid_until is None else valid_until,
            os.urandom(NONCE_SIZE_BYTES) if nonce is None else nonce,
            calls,
        )

    def call(self, full_name: str, *positional: Any, **named: Any) -> ReceiptDocument:
        """Call ``contract.command`` in a transaction of its own, and wait for the receipt; ``receipt.result`` is what
        the command returned. Raises as ``sign`` and ``submit``.
        """
        document = self._command(full_name)
        arguments = bind_named(document.arguments, positional, named, full_name)
        return self.submit(self._sign_bound([(document.contract, document.name, arguments)], None, None))

    def calls(self, calls: Calls) -> ReceiptDocument:
        """Several calls in one transaction, all or nothing."""
        return self.submit(self.sign(calls))

    def query(self, full_name: str, *positional: Any, **named: Any) -> Any:
        """The result of ``contract.query``."""
        return self.ask(full_name, *positional, **named).result

    def wait(self, transaction: bytes | str, timeout_s: float | None = None) -> ReceiptDocument:
        """The receipt of a transaction, as soon as there is one; raises GuildbookError ``client.timeout``."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            found = self.receipt(transaction)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                text = transaction if isinstance(transaction, str) else transaction.hex()
                raise GuildbookError(
                    "client.timeout",
                    f"transaction {text} has no receipt yet",
                    hint="send the same bytes again until it has one or is no longer valid",
                    transaction=text,
                )
            time.sleep(POLL_S)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'reading' if self.key is None else key_text(self.key.public_key)})"


def transaction_id_of(envelope: bytes) -> bytes:
    """The id of the transaction in ``envelope``; raises GuildbookError ``transaction.malformed``."""
    return decode_transaction(envelope).id


def applied(receipt: ReceiptDocument) -> ReceiptDocument:
    """``receipt`` itself when it was applied; raises TransactionRefused otherwise."""
    if receipt.outcome != "applied":
        raise TransactionRefused(receipt)
    return receipt
