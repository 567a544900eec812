"""The encodings of headers, commits, sets and blocks have one form each, and no bytes make their decoders
stumble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guildbook.primitives import cometbft as comet
from guildbook.primitives import protobuf as pb
from guildbook.primitives.errors import GuildbookError
from simulated_chain import NETWORK, SimulatedChain, validator_set

hashes = st.one_of(st.just(b""), st.binary(min_size=32, max_size=32))
times = st.one_of(st.just(comet.ZERO_TIME_NS), st.integers(comet.ZERO_TIME_NS, comet.TIME_NS_MAX))
block_ids = st.builds(
    comet.BlockID, hashes, st.builds(comet.PartSetHeader, st.integers(0, comet.PARTS_MAX), hashes)
)
headers = st.builds(
    comet.Header,
    chain_id=st.text(max_size=50),
    height=st.integers(0, pb.INT64_MAX),
    time_ns=times,
    last_block_id=block_ids,
    last_commit_hash=hashes,
    data_hash=hashes,
    validators_hash=hashes,
    next_validators_hash=hashes,
    consensus_hash=hashes,
    app_hash=st.binary(max_size=40),
    last_results_hash=hashes,
    evidence_hash=hashes,
    proposer_address=st.one_of(st.just(b""), st.binary(min_size=20, max_size=20)),
    version_app=st.integers(0, (1 << 64) - 1),
    version_block=st.integers(0, (1 << 64) - 1),
)
votes = st.one_of(
    st.just(comet.ABSENT),
    st.builds(
        comet.CommitSig,
        flag=st.integers(1, 3),
        address=st.binary(min_size=20, max_size=20),
        time_ns=times,
        signature=st.binary(min_size=64, max_size=64),
    ),
)
commits = st.builds(
    comet.Commit,
    height=st.integers(0, pb.INT64_MAX),
    round=st.integers(0, comet.INT32_MAX),
    block_id=block_ids,
    signatures=st.lists(votes, max_size=5).map(tuple),
)
sets = st.dictionaries(st.integers(1, 30), st.integers(1, 1 << 50), min_size=1, max_size=6).map(validator_set)
blocks = st.builds(
    comet.Block,
    header=headers,
    txs=st.lists(st.binary(max_size=300), max_size=6).map(tuple),
    evidence=st.lists(st.binary(max_size=20).map(lambda item: pb.message(1, item)), max_size=2).map(tuple),
    last_commit=commits,
)


def encode_whole_block(block: comet.Block) -> bytes:
    return comet.encode_block(block.header, block.txs, block.last_commit, block.evidence)


@given(headers)
def test_a_header_reads_back(header: comet.Header) -> None:
    assert comet.decode_header(comet.encode_header(header)) == header


@given(commits)
def test_a_commit_reads_back(commit: comet.Commit) -> None:
    assert comet.decode_commit(comet.encode_commit(commit)) == commit


@given(sets)
def test_a_validator_set_reads_back(validators: comet.ValidatorSet) -> None:
    assert comet.decode_validator_set(comet.encode_validator_set(validators)) == validators


@given(blocks)
def test_a_block_reads_back(block: comet.Block) -> None:
    assert comet.decode_block(encode_whole_block(block)) == block


@given(times)
@example(0)
@example(comet.TIME_NS_MAX)
@example(951_782_400 * comet.NANOSECONDS_PER_SECOND)
def test_a_time_reads_back(time_ns: int) -> None:
    assert comet.parse_time(comet.format_time(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:00:00Z", 951_825_600),
        ("2024-12-31T23:59:59Z", 1_735_689_599),
        ("0001-01-01T00:00:00Z", -62_135_596_800),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ],
)
def test_known_times_have_their_seconds(text: str, seconds: int) -> None:
    assert comet.parse_time(text) == seconds * comet.NANOSECONDS_PER_SECOND
    assert comet.format_time(seconds * comet.NANOSECONDS_PER_SECOND) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2023-05-17T14:12:53",
        "2023-05-17 14:12:53Z",
        "2023-05-17T14:12:53+00:00",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-01-00T00:00:00Z",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:60:00Z",
        "2023-01-01T00:00:60Z",
        "2023-01-01T00:00:00.Z",
        "2023-01-01T00:00:00.0123456789Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٣-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(comet.CometError, match=r"cometbft\.malformed"):
        comet.parse_time(text)


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "header": comet.decode_header,
    "commit": comet.decode_commit,
    "validator set": comet.decode_validator_set,
    "block": comet.decode_block,
}
ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "header": comet.encode_header,
    "commit": comet.encode_commit,
    "validator set": comet.encode_validator_set,
    "block": encode_whole_block,
}


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(kind: str, data: bytes) -> None:
    try:
        found = DECODERS[kind](data)
    except GuildbookError:
        return
    assert ENCODERS[kind](found) == data


def samples() -> dict[str, bytes]:
    chain = SimulatedChain(powers={1: 10, 2: 5, 3: 5})
    chain.add_block(b"\x07" * 32)
    chain.add_block(b"\x08" * 32, [b"bundle"], absent=[3])
    block = comet.encode_block(chain.header(2), [b"bundle"], chain.commit(1), [pb.message(1, b"\x08\x01")])
    return {
        "header": comet.encode_header(chain.header(2)),
        "commit": comet.encode_commit(chain.commit(2)),
        "validator set": comet.encode_validator_set(chain.validators(2)),
        "block": block,
    }


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_damaged_bytes_are_another_value_or_refused_but_never_the_same(
    kind: str, data: st.DataObject
) -> None:
    """Only one spelling: whatever single edit is made, the value that was written cannot come back."""
    original = samples()[kind]
    damaged = bytearray(original)
    start = data.draw(st.integers(0, len(damaged)))
    end = data.draw(st.integers(start, min(start + 3, len(damaged))))
    damaged[start:end] = data.draw(st.binary(max_size=3))
    if bytes(damaged) == original:
        return
    try:
        found = DECODERS[kind](bytes(damaged))
    except GuildbookError:
        return
    assert found != DECODERS[kind](original)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "header",
                    "commit",
                    "version",
                    "time",
                    "height",
                    "signatures",
                    "block_id",
                    "parts",
                    "hash",
                    "pub_key",
                ]
            ),
            children,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    for read in (
        comet.header_from_json,
        comet.commit_from_json,
        comet.validator_set_from_json,
        comet.signed_header_from_json,
        comet.block_from_json,
    ):
        try:
            read(value)
        except GuildbookError:
            continue


def test_a_block_that_was_put_together_from_two_is_refused() -> None:
    chain = SimulatedChain()
    for number in range(3):
        chain.add_block(b"\0" * 32, [b"bundle %d" % number])
    header, txs = chain.header(3), (b"bundle 2",)
    good = comet.Block(header, txs, (), chain.commit(2))
    comet.check_block(good)
    for mixed in (
        comet.Block(header, (b"bundle 1",), (), chain.commit(2)),
        comet.Block(header, txs, (), chain.commit(1)),
        comet.Block(header, txs, (pb.message(1, b"\x08\x01"),), chain.commit(2)),
    ):
        with pytest.raises(comet.CometError, match=r"cometbft\.block_mismatch"):
            comet.check_block(mixed)


def test_a_block_of_many_parts_has_the_root_over_them() -> None:
    data = bytes(range(256)) * 600
    parts = comet.part_set_header(data)
    assert parts.total == 3
    pieces = [data[:65_536], data[65_536:131_072], data[131_072:]]
    assert parts.hash == comet.merkle_root(pieces)
    assert comet.part_set_header(b"") == comet.PartSetHeader(0, comet.EMPTY_HASH)


def test_sign_bytes_leave_out_the_block_of_a_vote_for_nil() -> None:
    with_block = comet.vote_sign_bytes(
        NETWORK, 1, 0, comet.BlockID(b"\x01" * 32, comet.PartSetHeader(1, b"\x02" * 32)), 0
    )
    for_nil = comet.vote_sign_bytes(NETWORK, 1, 0, comet.NO_BLOCK, 0)
    assert len(with_block) - len(for_nil) == 2 + 34 + 38
