"""The files of the views: two databases with their write-ahead logs, and what DuckDB works on when memory is short."""

import shutil
from pathlib import Path

from guildbook.primitives.errors import GuildbookError


def bases_path(path: Path) -> Path:
    """Where the bases of the views at ``path`` are; see ``schema`` for what they are."""
    return path.with_name(f"{path.name}.bases")


def log_path(database: Path) -> Path:
    """Where DuckDB keeps the write-ahead log of a database."""
    return database.with_name(f"{database.name}.wal")


def size_bytes(path: Path) -> int:
    """The size of a file; 0 when it is absent."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def discard(path: Path | str) -> None:
    """Delete the views at ``path``, which no process may have open; the feed then builds them again from its start.

    Raises GuildbookError ``store.io`` when the operating system refuses.
    """
    place = Path(path)
    discard_bases(place)
    _delete(place)
    shutil.rmtree(place.with_name(f"{place.name}.tmp"), ignore_errors=True)


def discard_bases(path: Path) -> None:
    """Delete the bases of the views at ``path``; they are made again from the histories. Raises as ``discard``."""
    _delete(bases_path(path))


def _delete(database: Path) -> None:
    try:
        for part in (database, log_path(database)):
            part.unlink(missing_ok=True)
    except OSError as error:
        raise GuildbookError("store.io", f"the views at {database} cannot be deleted: {error.strerror}",
                             hint="check the permissions of the folder", path=str(database)) from error
