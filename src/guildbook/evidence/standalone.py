"""The stand-alone verifier: one file, `guildbook-verify.pyz`, that runs with Python 3.11 and nothing else.

    python guildbook-verify.pyz FILE --trust trust.json

It holds the modules that `guildbook.evidence.verify` needs, as they are in this package, and two replacements
for the libraries they import: signatures are checked by `guildbook.evidence.reference_ed25519` under the name
of the native library, and `msgspec`, of which only the base class of three records is used, by a few lines.
So an auditor can read every line that takes part in the verdict, and run it where nothing may be installed.

The archive is a zip behind a line for the shell (PEP 441), stored without compression and with a fixed date:
whoever builds it from the same sources gets the same bytes, so its hash can be published and compared.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import guildbook

ARCHIVE_NAME: Final = "guildbook-verify.pyz"
MODULES: Final = (
    "__init__",
    "primitives/__init__",
    "primitives/cometbft",
    "primitives/errors",
    "primitives/hashing",
    "primitives/keys",
    "primitives/log_entry",
    "primitives/merkle_log",
    "primitives/ordered",
    "primitives/proof",
    "primitives/protobuf",
    "primitives/state_tree",
    "evidence/__init__",
    "evidence/__main__",
    "evidence/format",
    "evidence/reference_canonical",
    "evidence/reference_ed25519",
    "evidence/report",
    "evidence/trust",
    "evidence/verify",
)
"""Everything the verifier imports of this package, without suffix."""

_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MAIN: Final = "from guildbook.evidence.__main__ import main\n\nraise SystemExit(main())\n"
_ED25519: Final = '''"""Signatures, checked in plain Python in place of the native library of this name."""

from guildbook.evidence.reference_ed25519 import ed_verify as ed_verify
'''
_MSGSPEC: Final = '''"""The one thing that the verifier uses of the library of this name: frozen records."""

import dataclasses


class Struct:
    def __init_subclass__(cls, **options: object) -> None:
        dataclasses.dataclass(frozen=True)(cls)
'''


def build_standalone() -> bytes:
    """The bytes of the archive, a function of the package's sources alone."""
    package = Path(guildbook.__file__).parent
    files = {f"guildbook/{module}.py": (package / f"{module}.py").read_text("utf-8") for module in MODULES}
    files |= {"__main__.py": _MAIN, "ed25519_zebra.py": _ED25519, "msgspec.py": _MSGSPEC}
    content = io.BytesIO(_SHEBANG)
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _DATE), source)
    return content.getvalue()


def write_standalone(folder: Path) -> Path:
    """Write the archive into `folder` and make it executable; its path."""
    path = folder / ARCHIVE_NAME
    path.write_bytes(build_standalone())
    path.chmod(0o755)
    return path
