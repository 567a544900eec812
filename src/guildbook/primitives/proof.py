"""What the verifiers of the log and the state tree share: the error for a proof that does not hold."""

from __future__ import annotations

from guildbook.primitives.errors import GuildbookError


class ProofError(GuildbookError):
    """A proof that does not hold, or bytes that are no proof.

    Its code says which claim was not shown: `evidence.log_inclusion`, `evidence.log_consistency`,
    `evidence.row_proof`, `evidence.absence_proof` or `evidence.range_proof`.
    """
