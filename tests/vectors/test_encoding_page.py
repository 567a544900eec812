"""The vectors on the pages of the encoding and of keys are what the code does."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from guildbook.primitives import ordered
from guildbook.primitives.canonical import CanonicalError, decode_value, encode
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import tagged
from guildbook.primitives.keys import SUITES, SigningKey, check_public_key, key_text, verify

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"


def rows(page: str, table: str) -> list[list[str]]:
    """The cells of the table after the mark `<!-- vectors: <table> -->`, without its two head lines."""
    after = (PAGES / page).read_text("utf-8").split(f"<!-- vectors: {table} -->\n")[1]
    lines = after.strip().split("\n\n")[0].splitlines()[2:]
    found = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    assert found
    return [["" if cell == "empty" else cell for cell in cells] for cells in found]


def value_of(notation: str) -> Any:
    """The value of the pages' notation: nil, true, false, numbers, "text", h'bytes', [arrays]."""
    python = re.sub(r"h'([0-9a-f]*)'", lambda found: repr(bytes.fromhex(found[1])), notation)
    return ast.literal_eval(python.replace("nil", "None").replace("true", "True").replace("false", "False"))


@pytest.mark.parametrize(("notation", "encoding"), rows("encoding.md", "canonical"))
def test_a_value_has_the_encoding_of_the_page(notation, encoding):
    assert encode(value_of(notation)).hex() == encoding
    assert decode_value(bytes.fromhex(encoding)) == value_of(notation)


@pytest.mark.parametrize(("encoding", "code", "because"), rows("encoding.md", "refused"))
def test_bytes_are_refused_as_the_page_says(encoding, code, because):
    with pytest.raises(CanonicalError) as caught:
        decode_value(bytes.fromhex(encoding))
    assert caught.value.code == code


@pytest.mark.parametrize(("kind", "notation", "encoding"), rows("encoding.md", "ordered"))
def test_a_component_of_a_key_has_the_encoding_of_the_page(kind, notation, encoding):
    assert getattr(ordered, f"encode_{kind}")(value_of(notation)).hex() == encoding
    value = value_of(notation)
    assert getattr(ordered, f"decode_{kind}")(bytes.fromhex(encoding)) == (value, len(encoding) // 2)


@pytest.mark.parametrize(("prefix", "end"), rows("encoding.md", "prefix end"))
def test_the_range_of_a_prefix_ends_as_the_page_says(prefix, end):
    found = ordered.prefix_end(bytes.fromhex(prefix))
    assert (found.hex() if found is not None else "none") == end


@pytest.mark.parametrize(("tag", "parts", "digest"), rows("encoding.md", "tagged"))
def test_a_tagged_hash_is_that_of_the_page(tag, parts, digest):
    assert tagged(tag, bytes.fromhex(parts)).hex() == digest


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), rows("keys.md", "signatures"))
def test_a_signature_is_that_of_the_page(seed, public_key, message, signature):
    key = SigningKey.from_seed(bytes.fromhex(seed))
    assert key.public_key.hex() == public_key
    assert key.sign(bytes.fromhex(message)).hex() == signature


@pytest.mark.parametrize(("public_key", "signature", "valid", "because"), rows("keys.md", "borderline"))
def test_a_borderline_signature_is_judged_as_the_page_says(public_key, signature, valid, because):
    judged = verify(bytes.fromhex(public_key), b"Guildbook", bytes.fromhex(signature))
    assert judged is (valid == "yes")


@pytest.mark.parametrize(("randomness", "seed", "text"), rows("keys.md", "generated"))
def test_a_key_made_from_randomness_is_that_of_the_page(randomness, seed, text):
    key = SigningKey.generate(bytes.fromhex(randomness))
    assert key.seed.hex() == seed
    assert key_text(key.public_key) == text


@pytest.mark.parametrize(("public_key", "code", "because"), rows("keys.md", "refused keys"))
def test_a_key_is_refused_as_the_page_says(public_key, code, because):
    with pytest.raises(GuildbookError) as caught:
        check_public_key(bytes.fromhex(public_key))
    assert caught.value.code == code


def test_every_algorithm_is_on_the_page():
    page = (PAGES / "keys.md").read_text("utf-8")
    for algorithm, suite in SUITES.items():
        row = f"{suite.key_size_bytes} bytes | {suite.signature_size_bytes} bytes | `{suite.name}:`"
        assert re.search(rf"^\| `{algorithm:02x}` \|.*{row}", page, re.MULTILINE)
