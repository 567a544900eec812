"""The vectors on the pages of transactions, receipts and changes are what the code does."""

from pathlib import Path

from guildbook.chain.bundle import decode_bundle, encode_bundle
from guildbook.chain.changes import BlockChanges, RowChange, TransactionSummary, decode_changes
from guildbook.chain.head import application_hash
from guildbook.chain.receipt import Receipt, decode_receipt
from guildbook.chain.transaction import (
    decode_transaction,
    encode_body,
    sign_body,
    signature_holds,
    transaction_id,
)
from guildbook.primitives.canonical import encode
from guildbook.primitives.hashing import sha256
from guildbook.primitives.keys import SigningKey
from guildbook.primitives.log_entry import entry_of, read_entry
from guildbook.primitives.merkle_log import leaf_hash
from guildbook.runtime.parameters import BOUNDS, Parameters

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"
KEY = SigningKey.from_seed(bytes(range(32)))


def vectors(page: str, table: str) -> dict[str, bytes]:
    """The bytes by name in the table after the mark `<!-- vectors: <table> -->`."""
    after = (PAGES / page).read_text("utf-8").split(f"<!-- vectors: {table} -->\n")[1]
    lines = after.strip().split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: bytes.fromhex(value.strip("`")) for name, value in cells}


TRANSACTION = vectors("transaction.md", "transaction")
RECEIPT = vectors("receipt.md", "receipt")


def test_a_transaction_is_built_and_read_as_the_page_says():
    body = encode_body(
        "orchard-net",
        KEY.public_key,
        120,
        bytes(range(16)),
        [("points", "transfer", ["summer", "m-1", "m-2", 30]), ("points", "touch", [])],
    )
    assert body == TRANSACTION["body"]
    assert transaction_id(body) == TRANSACTION["id"]
    assert sign_body(body, KEY) == TRANSACTION["envelope"]
    assert encode_bundle([TRANSACTION["envelope"]]) == TRANSACTION["bundle"]
    assert decode_bundle(TRANSACTION["bundle"]) == [TRANSACTION["envelope"]]
    read = decode_transaction(TRANSACTION["envelope"])
    assert read.id == TRANSACTION["id"]
    assert signature_holds(read)


def test_receipts_and_the_application_hash_are_as_the_page_says():
    applied = Receipt(
        TRANSACTION["id"], 7, 0, 0, "", [], [42, None], [["points", "transferred", [5, "m-2", 30]]]
    )
    rejected = Receipt(
        TRANSACTION["id"], 7, 1, 1, "points.not_enough_units", [["wanted", 30], ["free", 12]], [], []
    )
    assert encode(applied) == RECEIPT["applied"]
    entry = entry_of(RECEIPT["applied"], TRANSACTION["id"], 7, 0, 0)
    assert entry == RECEIPT["applied, entry"]
    assert read_entry(entry) == (TRANSACTION["id"], 7, 0, 0, sha256(RECEIPT["applied"]))
    assert leaf_hash(entry) == RECEIPT["applied, leaf hash"]
    assert encode(rejected) == RECEIPT["rejected"]
    assert decode_receipt(RECEIPT["applied"]) == applied
    assert decode_receipt(RECEIPT["rejected"]) == rejected
    wanted = RECEIPT["application hash of state root 00…00, log root 01…01, size 3"]
    assert application_hash(bytes(32), bytes([1]) * 32, 3) == wanted


def test_an_entry_of_the_change_feed_is_as_the_page_says():
    row = RowChange("points.lots", bytes.fromhex("8000000000000005"), None, b"\x92\x05\x1e")
    summary = TransactionSummary(TRANSACTION["id"], "anna", "mill", [["points", "transfer"]])
    changes = BlockChanges(7, 1767225600000, [row], [RECEIPT["rejected"]], [summary])
    entry = vectors("changes.md", "changes")["entry"]
    assert encode(changes) == entry
    assert decode_changes(entry) == changes


def test_the_parameters_on_the_genesis_page_are_the_parameters():
    defaults = Parameters()
    wanted = [
        f"| `{name}` | {getattr(defaults, name)} | {BOUNDS[name][0]} | {BOUNDS[name][1]} |"
        for name in Parameters.__struct_fields__
    ]
    text = (PAGES / "genesis.md").read_text("utf-8")
    found = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 5]
    assert found == wanted
