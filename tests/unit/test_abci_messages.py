"""The generated classes are what messages.proto gives, and their bytes are those of the specification."""

import subprocess
import sys
from pathlib import Path

from guildbook.engine.abci import messages_pb2 as pb

ROOT = Path(__file__).parents[2]


def test_the_generated_classes_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_messages.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_requests_and_responses_have_the_numbers_of_abci_2() -> None:
    requests = {
        "echo": 1, "flush": 2, "info": 3, "init_chain": 5, "query": 6, "check_tx": 8, "commit": 11,
        "list_snapshots": 12, "offer_snapshot": 13, "load_snapshot_chunk": 14, "apply_snapshot_chunk": 15,
        "prepare_proposal": 16, "process_proposal": 17, "extend_vote": 18, "verify_vote_extension": 19,
        "finalize_block": 20,
    }  # fmt: skip
    assert {one.name: one.number for one in pb.Request.DESCRIPTOR.fields} == requests
    responses = {
        "exception": 1, "echo": 2, "flush": 3, "info": 4, "init_chain": 6, "query": 7, "check_tx": 9,
        "commit": 12, "list_snapshots": 13, "offer_snapshot": 14, "load_snapshot_chunk": 15,
        "apply_snapshot_chunk": 16, "prepare_proposal": 17, "process_proposal": 18, "extend_vote": 19,
        "verify_vote_extension": 20, "finalize_block": 21,
    }  # fmt: skip
    assert {one.name: one.number for one in pb.Response.DESCRIPTOR.fields} == responses
    assert set(responses) - {"exception"} == set(requests)


def test_a_reader_passes_over_fields_that_it_does_not_know() -> None:
    known = pb.RequestFinalizeBlock(txs=[b"one"], height=7)
    more = known.SerializeToString() + bytes.fromhex("1202 0805") + b"\xf2\x07\x01x"
    read = pb.RequestFinalizeBlock.FromString(more)
    assert (list(read.txs), read.height) == ([b"one"], 7)
