"""A real node for tests of interface and client: founded in a temporary folder, served over loopback in a thread."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from guildbook.client import Client
from guildbook.client.keyfile import read_key
from guildbook.node import Founding, Node, found_node, open_node
from guildbook.primitives.keys import SigningKey

NETWORK = "test-net"
QUICK: dict[str, Any] = {
    "http.port": 0,
    "sequencer.gather_ms": 1,
    "sequencer.proof_delay_ms": 5,
    "sequencer.signature_workers": 0,
    "views.enabled": False,
    "store.free_bytes_warn": 0,
    "store.free_bytes_min": 0,
}
APPLICATIONS = ("sample_contract:Units",)


def founded(folder: Path, **settings: Any) -> Path:
    """The folder of a new node with the sample contract; its administrator holds every permission."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    found_node(folder, Founding(NETWORK, applications=APPLICATIONS), settings={**QUICK, **named})
    return folder


def administrator(folder: Path) -> SigningKey:
    """The signing key of the node's administrator."""
    return read_key(folder / "keys" / "admin.key")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[Node, Client]]:
    """The node of ``folder`` while it runs in a thread, and a client that signs as its administrator."""
    with open_node(folder) as node, node.running() as url:
        client = Client(url, administrator(folder), timeout_s=20)
        try:
            yield node, client
        finally:
            client.close()


class Asking(httpx.Client):
    """Plain HTTP to a running node, with the node, its administrator's key and a Guildbook client at hand."""

    def __init__(self, node: Node, client: Client) -> None:
        super().__init__(base_url=client.url, timeout=20)
        self.node = node
        self.client = client
        self.key = administrator(node.folder.path)


@contextlib.contextmanager
def asking(folder: Path) -> Iterator[Asking]:
    """Plain HTTP to the node of ``folder`` while it runs in a thread."""
    with serving(folder) as (node, client), Asking(node, client) as http:
        yield http


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of `response`, which must have this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["code"], document["status"]) == (code, status), document
    assert document["title"]
    assert document["detail"]
    assert document["next_step"]
    return document
