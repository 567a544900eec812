"""Files that a command writes: complete or not at all, and never over another file."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guildbook.primitives.errors import GuildbookError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends well, else it is removed.

    Raises GuildbookError ``store.not_empty`` when ``path`` exists, and FileNotFoundError when its folder does not.
    """
    if path.exists():
        raise _exists(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, this cannot replace a file that has come meanwhile
        except FileExistsError:
            raise _exists(path) from None
    finally:
        draft.unlink(missing_ok=True)


def write_new_file(path: Path, data: bytes) -> None:
    """Write ``data`` to the new file ``path``; raises as ``new_file``, and OSError."""
    with new_file(path) as draft:
        draft.write_bytes(data)


def _exists(path: Path) -> GuildbookError:
    return GuildbookError(
        "store.not_empty", f"{path} exists, and is not overwritten", hint="name another file", path=str(path)
    )
