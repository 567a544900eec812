"""The vectors on the pages of headers and of evidence are what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from guildbook.evidence.build import range_evidence, receipt_evidence
from guildbook.evidence.format import EvidenceError, decode_evidence
from guildbook.evidence.report import as_json
from guildbook.evidence.trust import format_trust, parse_trust
from guildbook.evidence.verify import STEPS, verify
from guildbook.primitives import cometbft as comet
from simulated_chain import SimulatedChain
from simulated_ledger import TABLE, SimulatedLedger, row_key

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"


def header_vectors() -> dict[str, str]:
    """What the table on the page of headers shows, by name."""
    chain = SimulatedChain(powers={1: 10, 2: 5}, network="orchard-net")
    chain.add_block(b"\x00" * 32)
    chain.add_block(b"\x01" * 32, [b"bundle"], absent=[2])
    header, commit, validators = chain.header(2), chain.commit(2), chain.validators(2)
    block = comet.encode_block(header, [b"bundle"], chain.commit(1))
    vote = commit.signatures[0]
    shown = {
        "validator set": comet.encode_validator_set(validators),
        "validators hash": comet.validator_set_hash(validators),
        "header of block 2": comet.encode_header(header),
        "hash of block 2": comet.header_hash(header),
        "block 2": block,
        "part set hash of block 2": comet.part_set_header(block).hash,
        "commit for block 2": comet.encode_commit(commit),
        "hash of the commit for block 2": comet.commit_hash(commit),
        "what the first validator signs": comet.vote_sign_bytes(
            "orchard-net", 2, 0, commit.block_id, vote.time_ns
        ),
        "what it would sign for nil": comet.vote_sign_bytes(
            "orchard-net", 2, 0, comet.NO_BLOCK, vote.time_ns
        ),
        "data hash of `bundle`": comet.data_hash([b"bundle"]),
        "results hash of code 0 and of code 5 with data `aa`": comet.results_hash(
            [comet.ExecTxResult(0, b""), comet.ExecTxResult(5, b"\xaa")]
        ),
        "consensus hash of 4,194,304 bytes without gas limit": comet.consensus_params_hash(4_194_304, -1),
    }
    return {name: value.hex() for name, value in shown.items()}


def test_headers_commits_and_hashes_are_as_the_page_says() -> None:
    after = (PAGES / "headers.md").read_text("utf-8").split("<!-- vectors: headers -->\n")[1]
    lines = after.strip().split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {name: value.strip("`") for name, value in cells} == header_vectors()


def evidence_ledger() -> SimulatedLedger:
    """The network of the page of evidence: three blocks, two lots."""
    ledger = SimulatedLedger({1: 10}, network="orchard-net")
    ledger.add_block()
    ledger.add_block([7, 8])
    ledger.add_block()
    return ledger


def evidence_files() -> dict[str, bytes]:
    """The files that the page shows, by name."""
    ledger = evidence_ledger()
    return {
        "receipt": receipt_evidence(ledger, ledger.transactions()[0]),
        "range": range_evidence(ledger, TABLE, row_key(0), row_key(8)),
    }


def shown(mark: str) -> str:
    """The fenced block after a mark on the page of evidence."""
    after = (PAGES / "evidence.md").read_text("utf-8").split(f"<!-- vectors: {mark} -->\n")[1]
    found = re.match(r"\s*```[a-z]*\n(.*?)```", after, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("kind", ["receipt", "range"])
def test_a_file_is_as_the_page_says_and_verifies_with_the_trust_anchor_of_the_page(kind: str) -> None:
    data = bytes.fromhex(shown(f"{kind} file"))
    assert data == evidence_files()[kind]
    verdict = verify(data, parse_trust(shown("trust anchor").encode()))
    assert json.loads(shown(f"{kind} verdict")) == json.loads(json.dumps(as_json(verdict)["fact"]))


def test_the_trust_anchor_of_the_page_is_that_of_the_network() -> None:
    assert parse_trust(shown("trust anchor").encode()) == evidence_ledger().trust()
    assert json.loads(shown("trust anchor")) == json.loads(format_trust(evidence_ledger().trust()))


def test_the_page_names_every_step_and_every_code() -> None:
    page = (PAGES / "evidence.md").read_text("utf-8")
    for number, step in enumerate(STEPS, start=1):
        assert re.search(rf"^\| {number} \| {step} \|", page, re.MULTILINE), step
    source = Path(verify.__code__.co_filename).parent
    codes = {
        code
        for module in ("format", "trust", "verify", "build")
        for code in re.findall(r'"(evidence\.[a-z_]+)"', (source / f"{module}.py").read_text("utf-8"))
    }
    assert codes
    assert {code for code in codes if f"`{code}`" not in page} == set()


def test_a_file_of_the_page_shows_its_parts() -> None:
    evidence = decode_evidence(bytes.fromhex(shown("receipt file")))
    assert (evidence.network, evidence.subject.kind, evidence.anchor.log_size) == (
        "orchard-net",
        "receipt",
        2,
    )
    with pytest.raises(EvidenceError):
        decode_evidence(bytes.fromhex(shown("receipt file"))[:-1])
