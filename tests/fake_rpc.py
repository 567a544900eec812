"""The interface of a CometBFT that is not there: JSON-RPC over a socket file, answered by a test.

It gives the blocks of a `FakeEngine` in the JSON form in which CometBFT gives them, and takes bundles as the test says.
"""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine
from guildbook.primitives import cometbft as comet


def _id(value: comet.BlockID) -> dict[str, Any]:
    parts = {"total": value.parts.total, "hash": value.parts.hash.hex().upper()}
    return {"hash": value.hash.hex().upper(), "parts": parts}


def header_json(header: comet.Header) -> dict[str, Any]:
    return {
        "version": {"block": str(header.version_block), "app": str(header.version_app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": comet.format_time(header.time_ns),
        "last_block_id": _id(header.last_block_id),
        **{
            name: getattr(header, name).hex().upper()
            for name in (
                "last_commit_hash", "data_hash", "validators_hash", "next_validators_hash", "consensus_hash",
                "app_hash", "last_results_hash", "evidence_hash", "proposer_address",
            )
        },
    }  # fmt: skip


def commit_json(commit: comet.Commit) -> dict[str, Any]:
    return {
        "height": str(commit.height),
        "round": commit.round,
        "block_id": _id(commit.block_id),
        "signatures": [
            {
                "block_id_flag": one.flag,
                "validator_address": one.address.hex().upper(),
                "timestamp": comet.format_time(one.time_ns),
                "signature": base64.b64encode(one.signature).decode() or None,
            }
            for one in commit.signatures
        ],
    }


def block_json(block: comet.Block) -> dict[str, Any]:
    assert not block.evidence
    return {
        "header": header_json(block.header),
        "data": {"txs": [base64.b64encode(one).decode() for one in block.txs]},
        "evidence": {"evidence": []},
        "last_commit": commit_json(block.last_commit),
    }


class Refusal(Exception):
    """What the interface answers instead of a result."""


class FakeRpc:
    """Serves on ``path``. ``take`` gets each bundle that is handed in and gives CheckTx's answer, or raises Refusal."""

    def __init__(self, path: Path, engine: FakeEngine) -> None:
        self.engine = engine
        self.bundles: list[bytes] = []
        self.take: Callable[[bytes], dict[str, Any]] = lambda _bundle: {"code": 0}
        self.catching_up = False
        self.pruned_below = 1
        self.change: Callable[[str, dict[str, Any]], Any] = lambda _method, result: result
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answers = [outer.answer(one) for one in body]
                data = json.dumps(answers if len(answers) > 1 else answers[0]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                pass

            def address_string(self) -> str:
                return "socket"

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            result = self.change(question["method"], self.result(question["method"], question["params"]))
        except Refusal as refusal:
            return {"id": question["id"], "error": {"code": -32603, "message": "Internal error", "data": str(refusal)}}
        return {"id": question["id"], "result": result}

    def result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "status":
            return {"sync_info": {"catching_up": self.catching_up}}
        if method == "broadcast_tx_sync":
            bundle = base64.b64decode(params["tx"])
            self.bundles.append(bundle)
            return self.take(bundle)
        height = int(params["height"])
        if height < self.pruned_below:
            raise Refusal(f"height {height} is not available, lowest height is {self.pruned_below}")
        if height > self.engine.height:
            raise Refusal("height must be less than or equal to the current blockchain height")
        made = self.engine.blocks[height - 1]
        if method == "block":
            return {"block": block_json(made.block)}
        return {"signed_header": {"commit": commit_json(made.commit)}}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
