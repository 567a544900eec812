"""What a ledger holds, as documents: shared by the HTTP interface and by the client inside the process.

A reader of a block of any age needs the declarations of that age: a receipt of last year has the events of the
contract version that ran then. Declarations are therefore looked up by height, and kept by the releases that were in
force.
"""

from functools import partial
from typing import Any, NamedTuple

import msgspec

from guildbook.chain.changes import BlockChanges
from guildbook.chain.ledger import Ledger, View, not_kept
from guildbook.chain.receipt import Location, Outcome, Receipt, decode_receipt
from guildbook.client.catalogue import (
    CatalogueDocument,
    ContractDocument,
    FieldDocument,
    bind_named,
    describe,
    value_of,
)
from guildbook.client.documents import (
    BlockDocument,
    ContractLine,
    EventDocument,
    EventInReceipt,
    Position,
    QueryAnswer,
    ReceiptDocument,
    RowDocument,
    RowsDocument,
    StatusDocument,
    TransactionLine,
)
from guildbook.client.kept import Kept
from guildbook.contract.rejected import Rejected
from guildbook.primitives.cometbft import header_hash
from guildbook.primitives.errors import ERRORS, GuildbookError, spec_for
from guildbook.runtime.arguments import bad_arguments, fields_to_json, to_json
from guildbook.runtime.catalogue import Catalogue
from guildbook.runtime.parameters import parameters_in_force
from guildbook.runtime.releases import RELEASES, SOURCES, Release, active_releases
from guildbook.state.layout import ROWS
from guildbook.state.overlay import Overlay
from guildbook.state.schema import TableSchema

ROWS_PER_PAGE_MAX = 1_000
BLOCK_TRANSACTIONS_SHOWN_MAX = 1_000
CATALOGUES_KEPT_MAX = 16
CHANGES_KEPT_MAX = 4
"""Blocks whose changes are kept decoded, for the many that ask for receipts of the last one."""
OUTCOME_NAMES = {Outcome.APPLIED: "applied", Outcome.REJECTED: "rejected", Outcome.INVALID: "invalid"}


def _provable_height(view: View) -> int | None:
    """The last height whose result a stored header states; None before the first block."""
    head, kept = view.head, view.kept_height
    if not kept:
        return None
    return kept if kept == head.height and not head.needs_proof_block else kept - 1


class Declarations:
    """The contracts in force at some height, and their document."""

    def __init__(self, network: str, catalogue: Catalogue, contracts: dict[str, ContractDocument]) -> None:
        self.catalogue = catalogue
        self.document: CatalogueDocument = describe(network, catalogue, contracts)


class _Latest(NamedTuple):
    """The declarations that hold from height ``since`` to ``height``, the last block when they were looked up."""

    since: int
    height: int
    declarations: Declarations


class LedgerReader:
    """Documents of one ledger. Safe in any thread; what it keeps is a cache."""

    def __init__(self, ledger: Ledger, software: str = "") -> None:
        self._ledger = ledger
        self._software = software
        self._genesis_hash = ledger.genesis.hash.hex()
        self._declarations: Kept[tuple[tuple[str, bytes], ...], Declarations] = Kept(CATALOGUES_KEPT_MAX)
        self._latest: _Latest | None = None
        self._changes: Kept[int, BlockChanges] = Kept(CHANGES_KEPT_MAX)

    def view(self) -> View:
        """What the ledger holds now."""
        return self._ledger.view()

    # declarations ------------------------------------------------------------------------------------------------

    def declarations(self, view: View, height: int | None = None) -> Declarations:
        """The declarations in force at ``height`` (None: after the last block of ``view``)."""
        at = view.head.height if height is None else height
        latest = self._latest
        if latest is not None and latest.since <= at <= latest.height:
            return latest.declarations
        overlay = Overlay(view.reader)
        found = self._of_releases(view, overlay, active_releases(overlay, at, view.registry))
        if at == view.head.height:
            started = [one.active_from for one in view.rows(RELEASES) if one.active_from <= at]
            self._latest = _Latest(max(started, default=0), at, found)
        return found

    def _of_releases(self, view: View, overlay: Overlay, releases: dict[str, Release]) -> Declarations:
        name_of = tuple((name, release.source) for name, release in releases.items())
        known = self._declarations.get(name_of)
        if known is not None:
            return known
        loaded = {
            name: view.registry.resolve(release.source, partial(_source_text, overlay, release.source))
            for name, release in releases.items()
        }
        contracts = {
            name: ContractDocument(
                name,
                release.version,
                release.source.hex(),
                release.active_from,
                (loaded[name].contract.__doc__ or "").strip(),
            )
            for name, release in releases.items()
        }
        made = Declarations(view.network, Catalogue(one.contract for one in loaded.values()), contracts)
        self._declarations.put(name_of, made)
        return made

    def changes(self, view: View, height: int) -> BlockChanges | None:
        """The changes of the block of ``height``, or None where the node does not hold them."""
        known = self._changes.get(height)
        if known is not None:
            return known
        found = view.changes(height)
        if found is not None:
            self._changes.put(height, found)
        return found

    # the chain ---------------------------------------------------------------------------------------------------

    def status(self) -> StatusDocument:
        """Where the ledger stands."""
        view = self.view()
        head = view.head
        document = self.declarations(view).document
        return StatusDocument(
            network=view.network,
            genesis_hash=self._genesis_hash,
            height=head.height,
            provable_height=_provable_height(view),
            time_ms=head.time_ns // 1_000_000,
            block_hash=head.block_hash.hex(),
            app_hash=head.app_hash.hex(),
            state_root=head.state_root.hex(),
            log_root=head.log_root.hex(),
            log_size=head.log_size,
            validity_blocks_max=parameters_in_force(Overlay(view.reader)).validity_blocks_max,
            software=self._software,
            contracts=[
                ContractLine(one.name, one.version, one.source) for one in document.contracts.values()
            ],
        )

    def block(self, height: int) -> BlockDocument:
        """The block of ``height``; raises GuildbookError ``api.not_found``."""
        view = self.view()
        block = view.block(height) if 0 < height <= view.head.height else None
        changes = self.changes(view, height) if block is not None else None
        if 0 < height <= view.head.height and height < view.kept_from:
            raise GuildbookError(
                "evidence.not_available",
                f"this node does not keep block {height}",
                hint="ask a node that keeps the whole history",
                height=height,
                first=view.kept_from,
            )
        if block is None or changes is None:
            raise GuildbookError(
                "api.not_found",
                f"there is no block {height}",
                hint=f"blocks go from 1 to {view.head.height}",
                height=height,
                last=view.head.height,
            )
        header = block.header
        lines = []
        for data, summary in zip(
            changes.receipts[:BLOCK_TRANSACTIONS_SHOWN_MAX], changes.transactions, strict=False
        ):
            receipt = decode_receipt(data)
            lines.append(
                TransactionLine(
                    summary.id.hex(),
                    OUTCOME_NAMES[Outcome(receipt.outcome)],
                    receipt.code,
                    summary.party,
                    summary.organisation,
                    [".".join(one) for one in summary.calls],
                )
            )
        return BlockDocument(
            height=height,
            hash=header_hash(header).hex(),
            time_ms=header.time_ns // 1_000_000,
            proposer=header.proposer_address.hex(),
            app_hash=header.app_hash.hex(),
            last_block_hash=header.last_block_id.hash.hex(),
            data_hash=header.data_hash.hex(),
            validators_hash=header.validators_hash.hex(),
            size_bytes=len(view.block_bytes(height) or b""),
            rows_changed=len(changes.rows),
            transaction_count=len(changes.receipts),
            transactions=lines,
        )

    def receipt(self, transaction: bytes) -> ReceiptDocument | None:
        """The receipt of a transaction by its id (32 bytes), or None while there is none."""
        view = self.view()
        location = view.location(transaction)
        return None if location is None else self.receipt_at(view, location)

    def receipt_at(self, view: View, location: Location) -> ReceiptDocument:
        """The receipt at ``location``."""
        changes = self.changes(view, location.height)
        if changes is None and location.height < view.kept_from:
            raise not_kept(location)
        if changes is None or location.index >= len(changes.receipts):
            raise GuildbookError("store.corrupt", f"no receipt {location.index} in block {location.height}")
        return self.receipt_document(view, changes.receipts[location.index], changes, location.log_index)

    def receipt_document(
        self, view: View, data: bytes, changes: BlockChanges, log_index: int | None
    ) -> ReceiptDocument:
        """The document of the canonical receipt ``data``, which is in the block of ``changes``."""
        receipt = decode_receipt(data)
        catalogue = self.declarations(view, receipt.height).catalogue
        summary = changes.transactions[receipt.index]
        message, next_step, fields = describe_refusal(catalogue, receipt)
        return ReceiptDocument(
            id=receipt.transaction.hex(),
            height=receipt.height,
            index=receipt.index,
            log_index=log_index,
            time_ms=changes.time_ms,
            party=summary.party,
            organisation=summary.organisation,
            outcome=OUTCOME_NAMES[Outcome(receipt.outcome)],
            code=receipt.code,
            message=message,
            next_step=next_step,
            fields=fields,
            results=to_json(receipt.results),
            events=[
                EventInReceipt(contract, event, event_fields(catalogue, contract, event, values))
                for contract, event, values in receipt.events
            ],
            receipt=data.hex(),
        )

    # events ------------------------------------------------------------------------------------------------------

    def events_of(self, view: View, height: int) -> list[EventDocument]:
        """The events of the block of ``height``, in order; [] where it has none."""
        changes = self.changes(view, height)
        if changes is None:
            raise GuildbookError(
                "api.not_found",
                f"the node does not hold the changes of block {height}",
                hint="begin at a later height, or ask a node that keeps the whole history",
                height=height,
            )
        found: list[EventDocument] = []
        catalogue = self.declarations(view, height).catalogue
        for data in changes.receipts:
            receipt = decode_receipt(data)
            for contract, event, values in receipt.events:
                place = Position(height, len(found))
                found.append(
                    EventDocument(
                        str(place),
                        height,
                        place.index,
                        changes.time_ms,
                        receipt.transaction.hex(),
                        contract,
                        event,
                        event_fields(catalogue, contract, event, values),
                    )
                )
        return found

    # rows and queries --------------------------------------------------------------------------------------------

    def _table(self, view: View, name: str) -> TableSchema:
        declarations = self.declarations(view)
        declarations.document.table(name)
        return declarations.catalogue.tables[name]

    def rows(self, table: str, prefix: list[Any], limit: int = 100, after: str | None = None) -> RowsDocument:
        """At most ``limit`` (1 to 1000) rows whose primary key begins with ``prefix`` (values), in key order.

        ``after`` is the cursor of the page before. Raises GuildbookError ``call.bad_arguments``, ``api.not_found`` or
        ``api.bad_request``.
        """
        view = self.view()
        schema = self._table(view, table)
        limit = max(1, min(limit, ROWS_PER_PAGE_MAX))
        start = schema.row_prefix + self.ordered_key(view, table, prefix, whole=False)
        cursor = None
        if after is not None:
            cursor = schema.row_prefix + _hexadecimal(after, "the cursor")
            if not cursor.startswith(start):
                raise GuildbookError(
                    "api.bad_request",
                    "the cursor is not one of this table and prefix",
                    hint="take the cursor from the page before",
                    after=after[:80],
                )
        shown: list[dict[str, Any]] = []
        last = ""
        following: str | None = None
        for row in Overlay(view.reader).scan(schema, None, start, after=cursor):
            if len(shown) == limit:
                following = last
                break
            shown.append(fields_to_json(schema.fields, msgspec.structs.astuple(row)))
            last = schema.key_of(row)[len(schema.row_prefix) :].hex()
        return RowsDocument(table, view.head.height, shown, following)

    def ordered_key(self, view: View, table: str, values: list[Any], *, whole: bool = True) -> bytes:
        """The ordered primary key for its parts; its beginning for the first ones, unless it is to be ``whole``.

        Raises GuildbookError ``api.not_found`` or ``call.bad_arguments``.
        """
        schema = self._table(view, table)
        if whole and len(values) != len(schema.key_fields):
            raise bad_arguments(
                table,
                f"the key has {len(schema.key_fields)} parts, and {len(values)} were given",
                f"give {', '.join(schema.key_fields)}",
            )
        fields = self.declarations(view).document.table(table).fields
        return key_of(schema, fields, values)[len(schema.row_prefix) :]

    def row(self, table: str, key: list[Any]) -> RowDocument:
        """The row with this primary key; raises GuildbookError ``api.not_found`` or ``call.bad_arguments``."""
        view = self.view()
        schema = self._table(view, table)
        store_key = schema.row_prefix + self.ordered_key(view, table, key)
        data = view.reader.get(store_key)
        if data is None:
            raise GuildbookError(
                "api.not_found",
                f"{table} has no row with this key",
                hint=f"the key is {', '.join(schema.key_fields)}",
                table=table,
                absent=True,
            )
        return RowDocument(
            table,
            view.head.height,
            fields_to_json(schema.fields, msgspec.structs.astuple(schema.decode(data))),
            store_key[len(ROWS) :].hex(),
            data.hex(),
        )

    def query(self, full_name: str, positional: list[Any], named: dict[str, Any]) -> QueryAnswer:
        """The result of ``contract.query``.

        Raises GuildbookError as ``Execution.query`` does, and with the code of a refusal where the query refuses.
        """
        view = self.view()
        document = self.declarations(view).document.query(full_name)
        arguments = bind_named(document.arguments, positional, named, full_name)
        try:
            result = view.execution().query(document.contract, document.name, arguments)
        except Rejected as rejection:
            raise refusal_of(rejection) from None
        return QueryAnswer(full_name, view.head.height, to_json(result))

    def catalogue(self) -> CatalogueDocument:
        """The catalogue after the last block."""
        return self.declarations(self.view()).document


def _source_text(overlay: Overlay, source: bytes) -> str:
    text: str = overlay.read(SOURCES, SOURCES.key(source)).text
    return text


def refusal_of(rejection: Rejected) -> GuildbookError:
    """The operational error for a query that refused."""
    return GuildbookError(
        rejection.code,
        rejection.message(),
        **{str(name): to_json(value) for name, value in rejection.values()},
    )


def matches(one: EventDocument, contract: str | None, event: str | None) -> bool:
    """Whether an event is of ``contract`` and of the kind ``event``, where they are named."""
    return (contract is None or one.contract == contract) and (event is None or one.event == event)


def event_fields(catalogue: Catalogue, contract: str, event: str, values: list[Any]) -> dict[str, Any]:
    """An event's values by name."""
    return fields_to_json(catalogue.events[f"{contract}.{event}"].fields, values)


def describe_refusal(catalogue: Catalogue, receipt: Receipt) -> tuple[str, str, dict[str, Any]]:
    """(message, next step, fields) of a receipt in words; empty when it was applied."""
    if not receipt.code:
        return "", "", {}
    spec = spec_for(receipt.code)
    rejection = catalogue.rejections.get(receipt.code)
    message = spec.summary if receipt.code in ERRORS or rejection is None else rejection.message()
    kinds = {one.name: one for one in rejection.specs} if rejection is not None else {}
    fields: dict[str, Any] = {}
    for name, value in receipt.fields:
        fields.update(
            fields_to_json([kinds[name]], [value]) if name in kinds else {str(name): to_json(value)}
        )
    return message, spec.next_step, fields


def key_of(schema: TableSchema, fields: tuple[FieldDocument, ...], values: list[Any]) -> bytes:
    """The store key (or its beginning) for the first parts of a primary key; GuildbookError ``call.bad_arguments``."""
    documents = {one.name: one for one in fields}
    if len(values) > len(schema.key_fields):
        raise bad_arguments(
            schema.name,
            f"the key has {len(schema.key_fields)} parts, and {len(values)} were given",
            f"give {', '.join(schema.key_fields)}",
        )
    annotations = {one.name: one.annotation for one in schema.fields}
    parts = []
    for name, given in zip(schema.key_fields, values, strict=False):
        try:
            parts.append(
                msgspec.convert(
                    value_of(documents[name], given, schema.name), annotations[name], builtin_types=(bytes,)
                )
            )
        except msgspec.ValidationError as error:
            raise bad_arguments(
                schema.name, f"{name}: {error}", f"the key is {', '.join(schema.key_fields)}"
            ) from None
    return schema.key_prefixes[len(parts)](*parts)


def _hexadecimal(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise GuildbookError(
            "api.bad_request", f"{what} is not hexadecimal", hint="send it as it was given"
        ) from None
