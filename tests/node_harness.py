"""A real node for tests of interface and client: founded in a temporary folder, served over loopback in a thread."""

import contextlib
from pathlib import Path

from guildbook.client import Client
from guildbook.client.keyfile import read_key
from guildbook.node import Founding, found_node, open_node

NETWORK = "test-net"
QUICK = {
    "http.port": 0,
    "sequencer.gather_ms": 1,
    "sequencer.proof_delay_ms": 5,
    "sequencer.signature_workers": 0,
    "views.enabled": False,
    "store.free_bytes_warn": 0,
    "store.free_bytes_min": 0,
}
APPLICATIONS = ("sample_contract:Units",)


def founded(folder: Path, **settings):
    """The folder of a new node with the sample contract; its administrator holds every permission."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    found_node(folder, Founding(NETWORK, applications=APPLICATIONS), settings={**QUICK, **named})
    return folder


def administrator(folder: Path):
    """The signing key of the node's administrator."""
    return read_key(folder / "keys" / "admin.key")


@contextlib.contextmanager
def serving(folder: Path):
    """The node of ``folder`` while it runs in a thread: (node, client that signs as its administrator)."""
    with open_node(folder) as node, node.running() as url:
        client = Client(url, administrator(folder), timeout_s=20)
        try:
            yield node, client
        finally:
            client.close()


def problem(response, status, code):
    """The problem document of `response`, which must have this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["code"], document["status"]) == (code, status), document
    assert document["title"]
    assert document["detail"]
    assert document["next_step"]
    return document
