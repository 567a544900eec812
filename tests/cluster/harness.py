"""A network of real nodes for tests that do something to it.

`clerks` founds it: four members and an observer, each with one party that may issue units of the sample contract. What
can be done to a node is in `guildbook.testing.network`: start, stop, kill, pause, resume, wait, compare.

    with clerks(folder) as network:
        network.start()
        issued = issue(network.node("anchor"), "account-1", 5)
        network.node("moss").kill()
        ...
        network.node("moss").start()
        network.same_roots()

Every wait has a generous limit and ends as soon as what it waits for is there; nothing is measured.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine_binary import cometbft
from guildbook.client.documents import ReceiptDocument
from guildbook.evidence.verify import Verdict, verify
from guildbook.testing.network import LocalNetwork, LocalNode, Organisation

TESTS = Path(__file__).parents[1]
APPLICATION = "sample_contract:Units"
MEMBERS = ("anchor", "kettle", "lantern", "moss")
OBSERVER = "watch"
NETWORK = "cluster-net"


def clerks(
    folder: Path,
    members: Sequence[str] = MEMBERS,
    observers: Sequence[str] = (OBSERVER,),
    settings: Mapping[str, Any] | None = None,
) -> LocalNetwork:
    """A founded network that is not started. Each organisation has the party ``clerk-ID``; a member's may issue units.

    Skips the test where there is no CometBFT.
    """
    cometbft()
    organisations = [Organisation(one, {f"clerk-{one}": ["units:issuer"]}) for one in members]
    organisations += [Organisation(one, {f"clerk-{one}": []}, observer=True) for one in observers]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    return LocalNetwork.found(
        folder, organisations, [APPLICATION], network=NETWORK, settings=settings,
        environment={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def issue(node: LocalNode, to: str, units: int) -> ReceiptDocument:
    """Issue units through `node`, signed by its organisation's clerk; the receipt, when its block is durable."""
    return node.client(f"clerk-{node.organisation.id}").call("units.issue", to=to, units=units)


def held(node: LocalNode, account: str) -> int:
    """What `account` holds, as `node` says."""
    row = node.client().row("units.accounts", account)
    return 0 if row is None else int(row.row["units"])


def proven(network: LocalNetwork, node: LocalNode, receipt: ReceiptDocument) -> Verdict:
    """What a stranger with the genesis validators alone makes of the evidence that `node` gives of a receipt."""
    node.wait_height(receipt.height + 1)
    return verify(node.client().evidence_receipt(receipt.id), network.trust)
