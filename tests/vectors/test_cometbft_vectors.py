"""CometBFT's structures against what real nodes wrote and what other light clients decide.

Left out of the shared data, and why: the peer-to-peer handshake's golden file and the network manifests
(Guildbook speaks neither), `net_info`, `abci_*` and `consensus_state` answers (nothing in them is hashed or
signed), `block_results` of other applications (no header comes with them to hold the results hash against),
and a genesis whose validators are made by its application's own genesis transactions.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from guildbook.chain.misbehaviour import misbehaviour_of
from guildbook.primitives import cometbft as comet
from guildbook.primitives import protobuf as pb
from guildbook.primitives.errors import GuildbookError
from shared_data import shared

KVSTORE = "engine/rpc-kvstore/v0_38/incoming"
GAIA = "engine/rpc-gaia/incoming"
NETWORK = "dockerchain"


def answer(name: str) -> Any:
    return json.loads(shared(f"{name}.json").read_text())["result"]


def hex_of(digest: bytes) -> str:
    return digest.hex().upper()


def genesis_validators() -> comet.ValidatorSet:
    return comet.validator_set_from_json(answer(f"{KVSTORE}/genesis")["genesis"]["validators"])


# --- what real nodes wrote ----------------------------------------------------------------------------------


def test_a_real_header_its_commit_and_its_validators_verify_from_genesis() -> None:
    signed = comet.signed_header_from_json(answer(f"{KVSTORE}/commit_at_height_10")["signed_header"])
    assert comet.verify_signed_header(NETWORK, signed, genesis_validators()) == signed.commit.block_id.hash


def test_a_real_commit_verifies_on_no_other_network() -> None:
    signed = comet.signed_header_from_json(answer(f"{KVSTORE}/commit_at_height_10")["signed_header"])
    block_id = signed.commit.block_id
    with pytest.raises(comet.CometError, match=r"cometbft\.bad_signature"):
        comet.verify_commit("dockerchaim", genesis_validators(), 10, block_id, signed.commit)


def test_the_address_of_a_validator_is_that_of_its_key() -> None:
    found = answer(f"{KVSTORE}/status")["validator_info"]
    (validator,) = comet.validator_set_from_json([found]).validators
    assert hex_of(validator.address) == found["address"]


def real_blocks() -> list[Any]:
    single = [
        answer(f"{folder}/{name}")
        for folder, name in (
            (KVSTORE, "block_at_height_1"),
            (KVSTORE, "block_at_height_10"),
            (KVSTORE, "block_by_hash"),
            (GAIA, "block_at_height_10"),
        )
    ]
    return [*single, *answer(f"{KVSTORE}/block_search")["blocks"]]


def test_real_blocks_encode_to_the_bytes_their_part_sets_commit_to() -> None:
    blocks = real_blocks()
    assert len(blocks) == 49
    for found in blocks:
        block = comet.block_from_json(found["block"])
        comet.check_block(block)
        encoded = comet.encode_block(block.header, block.txs, block.last_commit)
        block_id = comet.block_id(block.header, encoded)
        assert hex_of(block_id.hash) == found["block_id"]["hash"]
        assert hex_of(block_id.parts.hash) == found["block_id"]["parts"]["hash"]
        assert block_id.parts.total == found["block_id"]["parts"]["total"]
        assert comet.decode_block(encoded) == block


def test_a_real_chain_verifies_block_by_block_from_genesis() -> None:
    """Each last commit of the searched blocks is by the genesis validators, and signs the block before."""
    verified = 0
    for found in answer(f"{KVSTORE}/block_search")["blocks"]:
        block = comet.block_from_json(found["block"])
        commit = block.last_commit
        comet.verify_commit(
            block.header.chain_id,
            genesis_validators(),
            block.header.height - 1,
            block.header.last_block_id,
            commit,
        )
        verified += 1
    assert verified == 45


@pytest.mark.parametrize("folder", [KVSTORE, GAIA])
def test_real_headers_have_their_hashes_and_link_to_one_another(folder: str) -> None:
    metas = sorted(
        answer(f"{folder}/blockchain_from_1_to_10")["block_metas"],
        key=lambda meta: int(meta["header"]["height"]),
    )
    assert len(metas) == 10
    before = None
    for meta in metas:
        header = comet.header_from_json(meta["header"])
        assert hex_of(comet.header_hash(header)) == meta["block_id"]["hash"]
        if before is not None:
            assert header.last_block_id.hash == comet.header_hash(before)
            assert header.validators_hash == before.next_validators_hash
            assert header.time_ns > before.time_ns
        before = header


def vote_bytes(vote: Any) -> bytes:
    found = vote["block_id"]
    parts = pb.integer(1, found["parts"]["total"]) + pb.octets(2, bytes.fromhex(found["parts"]["hash"]))
    return (
        pb.integer(1, vote["type"])
        + pb.integer(2, int(vote["height"]))
        + pb.integer(3, vote["round"])
        + pb.message(4, pb.octets(1, bytes.fromhex(found["hash"])) + pb.message(2, parts))
        + pb.message(5, timestamp_bytes(vote["timestamp"]))
        + pb.octets(6, bytes.fromhex(vote["validator_address"]))
        + pb.integer(7, vote["validator_index"])
        + pb.octets(8, base64.b64decode(vote["signature"]))
    )


def timestamp_bytes(text: str) -> bytes:
    seconds, nanoseconds = divmod(comet.parse_time(text), comet.NANOSECONDS_PER_SECOND)
    return pb.integer(1, seconds) + pb.integer(2, nanoseconds)


def test_a_real_block_with_evidence_of_a_double_vote_commits_to_it() -> None:
    (found, *_) = answer(f"{KVSTORE}/block_search_evidence")["blocks"]
    (evidence,) = found["block"]["evidence"]["evidence"]
    value = evidence["value"]
    message = pb.message(
        1,
        pb.message(1, vote_bytes(value["vote_a"]))
        + pb.message(2, vote_bytes(value["vote_b"]))
        + pb.integer(3, int(value["total_voting_power"]))
        + pb.integer(4, int(value["validator_power"]))
        + pb.message(5, timestamp_bytes(value["timestamp"])),
    )
    header = comet.header_from_json(found["block"]["header"])
    last_commit = comet.commit_from_json(found["block"]["last_commit"])
    encoded = comet.encode_block(header, (), last_commit, (message,))
    assert comet.evidence_hash((message,)) == header.evidence_hash
    assert hex_of(comet.part_set_header(encoded).hash) == found["block_id"]["parts"]["hash"]
    comet.check_block(comet.decode_block(encoded))
    assert comet.block_from_json(found["block"]) == comet.decode_block(encoded)
    (proven,) = misbehaviour_of((message,))
    assert (proven.kind, proven.address.hex().upper()) == (1, value["vote_a"]["validator_address"])
    assert (proven.power, proven.total_power) == (
        int(value["validator_power"]),
        int(value["total_voting_power"]),
    )
    assert (proven.height, proven.time_ns) == (
        int(value["vote_a"]["height"]),
        comet.parse_time(value["timestamp"]),
    )


def test_real_transactions_have_the_data_hash_their_proofs_lead_to() -> None:
    for found in answer(f"{KVSTORE}/tx_search_with_prove")["txs"]:
        assert found["proof"]["proof"]["total"] == "1"
        tx = base64.b64decode(found["tx"])
        assert hex_of(comet.data_hash([tx])) == found["proof"]["root_hash"]


def test_real_consensus_parameters_have_the_hash_of_the_header() -> None:
    for folder, height in ((KVSTORE, 10), (GAIA, 10)):
        block = answer(f"{folder}/consensus_params")["consensus_params"]["block"]
        header = answer(f"{folder}/block_at_height_{height}")["block"]["header"]
        digest = comet.consensus_params_hash(int(block["max_bytes"]), int(block["max_gas"]))
        assert hex_of(digest) == header["consensus_hash"]


def test_the_error_answer_of_a_node_is_no_block() -> None:
    for folder in (KVSTORE, GAIA):
        found = json.loads(shared(f"{folder}/block_at_height_0.json").read_text())
        with pytest.raises(comet.CometError, match=r"cometbft\.malformed"):
            comet.block_from_json(found.get("result"))


def test_a_header_of_an_older_protocol_keeps_its_fields() -> None:
    """Block protocol 10 hashes otherwise, so only its fields can be compared."""
    found = json.loads(shared("engine/serialization/serialization/block/header.json").read_text())
    header = comet.header_from_json(found)
    assert (header.version_block, header.chain_id, header.height) == (10, "cosmoshub-1", 15)
    assert comet.format_time(header.time_ns) == found["time"]
    assert comet.decode_header(comet.encode_header(header)) == header


def test_the_genesis_time_of_a_hub_reads_and_writes_the_same() -> None:
    path = "engine/genesis/gaiad-cosmoshub-test-stargate-2/n0/config/genesis.json"
    text = json.loads(shared(path).read_text())["genesis_time"]
    assert comet.format_time(comet.parse_time(text)) == text


# --- what other light clients decide ------------------------------------------------------------------------


def verify_step(
    trusted: comet.Header,
    next_validators: comet.ValidatorSet,
    light_block: Any,
    *,
    trusting_period_ns: int,
    now_ns: int,
    trust_level: tuple[int, int] = comet.TRUST_LEVEL_ONE_THIRD,
) -> comet.Header:
    signed = comet.signed_header_from_json(light_block["signed_header"])
    validators = comet.validator_set_from_json(light_block["validator_set"]["validators"])
    if signed.header.height == trusted.height + 1:
        comet.verify_adjacent(
            trusted.chain_id,
            trusted,
            signed,
            validators,
            trusting_period_ns=trusting_period_ns,
            now_ns=now_ns,
            clock_drift_ns=0,
        )
    else:
        comet.verify_non_adjacent(
            trusted.chain_id,
            trusted,
            next_validators,
            signed,
            validators,
            trusting_period_ns=trusting_period_ns,
            now_ns=now_ns,
            trust_level=trust_level,
            clock_drift_ns=0,
        )
    return signed.header


def single_step_files() -> list[str]:
    return sorted(path.name for path in shared("engine/light-client/model_based/single_step").glob("*.json"))


def test_all_verdicts_of_the_model_based_light_client_vectors() -> None:
    """25 files made from the specification's model: each step is believed, refused, or needs a header in
    between."""
    verdicts = {"SUCCESS": 0, "NOT_ENOUGH_TRUST": 0, "INVALID": 0}
    for name in single_step_files():
        case = json.loads(shared(f"engine/light-client/model_based/single_step/{name}").read_text())
        initial = case["initial"]
        trusted = comet.header_from_json(initial["signed_header"]["header"])
        next_validators = comet.validator_set_from_json(initial["next_validator_set"]["validators"])
        for number, step in enumerate(case["input"]):
            try:
                trusted = verify_step(
                    trusted,
                    next_validators,
                    step["block"],
                    trusting_period_ns=int(initial["trusting_period"]),
                    now_ns=comet.parse_time(step["now"]),
                )
                next_validators = comet.validator_set_from_json(
                    step["block"]["next_validator_set"]["validators"]
                )
                verdict = "SUCCESS"
            except GuildbookError as refusal:
                verdict = "NOT_ENOUGH_TRUST" if refusal.code == "cometbft.not_enough_trust" else "INVALID"
            assert verdict == step["verdict"], f"{name}, step {number}"
            verdicts[verdict] += 1
    assert verdicts == {"SUCCESS": 25, "NOT_ENOUGH_TRUST": 27, "INVALID": 8}


def test_chains_of_the_older_encoding_are_refused() -> None:
    """The bisection vectors were signed before block protocol 11, over keys and headers in another encoding.

    Their stories (bisection, conflicting headers, a false witness) cannot be replayed; that they are refused
    at the first hash can.
    """
    paths = sorted(shared("engine/light-client/bisection").glob("*/*.json"))
    assert len(paths) == 6
    for path in paths:
        case = json.loads(path.read_text())
        for light_block in case["primary"]["lite_blocks"]:
            signed = comet.signed_header_from_json(light_block["signed_header"])
            validators = comet.validator_set_from_json(light_block["validator_set"]["validators"])
            with pytest.raises(comet.CometError, match=r"cometbft\.wrong_validators"):
                comet.verify_signed_header(case["primary"]["chain_id"], signed, validators)
