"""The verifier as a program: `python -m guildbook.evidence FILE --trust trust.json`.

Exit status 0: the file proves what is printed; 6: it does not; 2: the program was called wrongly, or a file
cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from guildbook.evidence.format import EVIDENCE_SIZE_BYTES_MAX, EvidenceError
from guildbook.evidence.report import as_json, as_text
from guildbook.evidence.trust import TRUST_SIZE_BYTES_MAX, parse_trust
from guildbook.evidence.verify import verify
from guildbook.primitives.errors import EXIT_UNPROVEN, EXIT_USAGE


def _read(path: Path, size_bytes_max: int) -> bytes:
    """The file's bytes, and one byte more than allowed if it is too large: enough for the refusal."""
    with path.open("rb") as file:
        return file.read(size_bytes_max + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the file that the arguments name and print the verdict; the exit status."""
    parser = argparse.ArgumentParser(
        prog="guildbook-verify", description="Check what an evidence file of a Guildbook network proves."
    )
    parser.add_argument("file", type=Path, help="the evidence file")
    parser.add_argument(
        "--trust",
        type=Path,
        required=True,
        help="the network's trust anchor (JSON), from a source of its own",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args(arguments)
    try:
        trust_bytes = _read(options.trust, TRUST_SIZE_BYTES_MAX)
        evidence_bytes = _read(options.file, EVIDENCE_SIZE_BYTES_MAX)
    except OSError as error:
        sys.stderr.write(f"cannot read {error.filename}: {error.strerror}\n")
        return EXIT_USAGE
    try:
        verdict = verify(evidence_bytes, parse_trust(trust_bytes))
    except EvidenceError as error:
        if options.json:
            refusal = {"verified": False, "code": error.code, "message": error.message, "hint": error.hint}
            sys.stdout.write(json.dumps(refusal | {"step": error.fields["step"]}, indent=2) + "\n")
        else:
            sys.stdout.write(f"NOT VERIFIED: {error.message}\n{error.hint}\n[{error.code}]\n")
        return EXIT_UNPROVEN
    sys.stdout.write(json.dumps(as_json(verdict), indent=2) + "\n" if options.json else as_text(verdict))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
