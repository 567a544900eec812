"""What a member's node does that is not what it should be: loaded by its Python before anything else.

A test puts this folder in front of PYTHONPATH of one node, and says in TRAITOR which of these it is:

    garbage       its blocks carry bytes that are no bundle
    forged        its blocks carry a transaction whose signature is of another
    twice         its blocks carry every bundle twice
    refuses       it votes for nobody's block
    result:N      from height N on it computes another state than everybody else
    clock:MS      its clock differs by so many milliseconds
"""

import os
import time

MODE, _, ARGUMENT = os.environ.get("TRAITOR", "").partition(":")


def _tampers() -> None:
    from guildbook.chain.bundle import decode_bundle, encode_bundle
    from guildbook.engine.abci import messages_pb2 as pb
    from guildbook.engine.abci.application import Application

    prepare, accept, finalize = (
        Application._prepare_proposal,
        Application._process_proposal,
        Application._finalize_block,
    )

    def proposed(self, request):
        answer = prepare(self, request)
        bundles = list(answer["prepare_proposal"].txs)
        if MODE == "garbage":
            bundles.append(b"\xff" * 40)
        elif MODE == "twice":
            bundles *= 2
        elif MODE == "forged" and bundles:
            envelope = bytearray(decode_bundle(bundles[0])[0])
            envelope[-1] ^= 1
            bundles.append(encode_bundle([bytes(envelope)]))
        return {"prepare_proposal": pb.ResponsePrepareProposal(txs=bundles)}

    def judged(self, request):
        if MODE == "refuses":
            return {"process_proposal": pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.REJECT)}
        if MODE in ("garbage", "twice", "forged"):
            return {"process_proposal": pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)}
        return accept(self, request)

    def run(self, request):
        answer = finalize(self, request)
        if MODE == "result" and request.height >= int(ARGUMENT):
            answer["finalize_block"].app_hash = bytes(32)
        return answer

    Application._prepare_proposal = proposed  # type: ignore[method-assign]
    Application._process_proposal = judged  # type: ignore[method-assign]
    Application._finalize_block = run  # type: ignore[method-assign]


if MODE == "clock":
    differs_ns = int(ARGUMENT) * 1_000_000
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + differs_ns / 1e9
    time.time_ns = lambda: true_time_ns() + differs_ns
elif MODE:
    _tampers()
