"""Which version of which contract runs at a height.

The rows are written by the foundation contract ``governance``. A release is the source text of one contract
file, named by its SHA-256; it runs from its activation height until the next release of the same contract is
active. Sources stay on the ledger, so that a block of any age runs under the code that decided it.
"""

from functools import partial

from guildbook.runtime.registry import Registry
from guildbook.state.overlay import Overlay
from guildbook.state.record import Code, Digest, Height, Positive, Record, SourceText, key
from guildbook.state.schema import TableSchema


class Source(Record):
    """The text of a contract file."""

    hash: Digest = key()
    contract: Code
    text: SourceText


class Release(Record):
    """A version of a contract and the height from which it runs."""

    contract: Code = key()
    version: Positive = key()
    source: Digest
    active_from: Height


SOURCES = TableSchema("governance.sources", Source)
RELEASES = TableSchema("governance.releases", Release)


def active_releases(overlay: Overlay, height: int, registry: Registry) -> dict[str, Release]:
    """The release of each contract that runs at ``height``, by contract name in name order.

    It is the newest whose time has come and whose source can be loaded and is what the release says. A source that
    cannot be loaded is passed over, and the release before it goes on: it must not stop every node at one height.
    """
    candidates: dict[str, list[Release]] = {}
    for release in overlay.scan(RELEASES, None, RELEASES.row_prefix):
        if release.active_from <= height:
            candidates.setdefault(release.contract, []).append(release)
    active: dict[str, Release] = {}
    for name, releases in candidates.items():
        for release in reversed(releases):
            if registry.can_run(
                release.source, name, release.version, partial(source_text, overlay, release.source)
            ):
                active[name] = release
                break
    return active


def source_text(overlay: Overlay, source: bytes) -> str:
    """The text that the ledger keeps under ``source``."""
    text: str = overlay.peek(SOURCES, SOURCES.key(source)).text
    return text
