"""A node asks its witnesses to cosign the checkpoint of its log, and serves what they say with it.

By C2SP tlog-witness: the node sends its checkpoint with the proof that it continues the one which the witness has
cosigned last, and gets a cosignature. One that does not verify with the witness's key is dropped. A witness that does
not answer, or refuses, holds nothing up; the log says so.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import httpx

from guildbook.chain.ledger import View
from guildbook.evidence.witness import SIZE_TYPE, request_of
from guildbook.primitives.checkpoint import NoteSignature, SignedNote, parse_checkpoint, parse_note
from guildbook.primitives.cosignature import WitnessKey, cosigned_at, parse_witness_key
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.merkle_log import LOG_SIZE_LEAVES_MAX

TIMEOUT_S = 10
EVERY_S = 10.0

_log = logging.getLogger("guildbook.node")


class WitnessPlace(NamedTuple):
    """A witness: its key, and the address under which it takes add-checkpoint."""

    key: WitnessKey
    url: str


def parse_witness_place(text: str) -> WitnessPlace:
    """``<key> <url>`` as the configuration has it. Raises GuildbookError ``evidence.malformed``."""
    key, _space, url = text.strip().partition(" ")
    if not url.startswith(("http://", "https://")):
        raise GuildbookError("evidence.malformed", f"{text[:160]!r} is not the key of a witness and its address")
    return WitnessPlace(parse_witness_key(key), url.strip().rstrip("/"))


class Witnesses:
    """The witnesses of a node. ``view`` and ``checkpoint`` give the ledger, and the signed note of a view's log."""

    def __init__(
        self,
        places: Sequence[WitnessPlace],
        view: Callable[[], View],
        checkpoint: Callable[[View], bytes],
        every_s: float = EVERY_S,
    ) -> None:
        self._places = list(places)
        self._view = view
        self._checkpoint = checkpoint
        self._every_s = every_s
        self._cosigned: dict[str, tuple[str, NoteSignature]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)

    def start(self) -> None:
        """Start asking, where there are witnesses."""
        if self._places:
            self._thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def with_cosignatures(self, data: bytes) -> bytes:
        """The signed checkpoint ``data`` with the cosignatures of the same text that are at hand."""
        note = parse_note(data)
        lines = [line for text, line in list(self._cosigned.values()) if text == note.text]
        return SignedNote(note.text, (*note.signatures, *lines)).encode() if lines else data

    def ask(self) -> int:
        """Ask each witness that has not cosigned the log as it is now; how many have, afterwards."""
        view = self._view()
        data = self._checkpoint(view)
        note = parse_note(data)
        count = 0
        for place in self._places:
            known = self._cosigned.get(place.key.name)
            if known is None or known[0] != note.text:
                try:
                    self._cosigned[place.key.name] = (note.text, self._asked(place, view, data, note))
                except (GuildbookError, httpx.HTTPError, ValueError) as error:
                    _log.warning("witness %s has not cosigned: %s", place.key.name, error)
                    continue
            count += 1
        return count

    def _asked(self, place: WitnessPlace, view: View, data: bytes, note: SignedNote) -> NoteSignature:
        size = view.head.log_size
        known = self._cosigned.get(place.key.name)
        old = 0 if known is None else parse_checkpoint(known[0]).size
        with httpx.Client(timeout=TIMEOUT_S) as client:
            answer = self._sent(client, place, view, old, size, data)
            if answer.status_code == 409 and answer.headers.get("content-type", "").startswith(SIZE_TYPE):
                old = int(answer.text)
                if not 0 <= old <= min(size, LOG_SIZE_LEAVES_MAX):
                    raise GuildbookError("witness.older", f"it has seen {old} entries, and there are {size}")
                answer = self._sent(client, place, view, old, size, data)
        if answer.status_code != 200:
            raise GuildbookError(
                "client.unreachable", f"it answers with status {answer.status_code}: {answer.text[:200].strip()}"
            )
        cosigned = parse_note(SignedNote(note.text, note.signatures).encode() + answer.content)
        if cosigned_at(cosigned, place.key) is None:
            raise GuildbookError("evidence.untrusted", "its answer has no cosignature of its key")
        return next(
            one for one in cosigned.signatures if (one.name, one.key_id) == (place.key.name, place.key.key_id)
        )

    @staticmethod
    def _sent(
        client: httpx.Client, place: WitnessPlace, view: View, old: int, size: int, data: bytes
    ) -> httpx.Response:
        proof = tuple(view.log().consistency_proof(old)) if 0 < old < size else ()
        return client.post(f"{place.url}/add-checkpoint", content=request_of(old, proof, data))

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.ask()
            except Exception as error:  # noqa: BLE001 - the thread's rim: the next round may go well
                _log.error("the witnesses were not asked: %s", error)
