"""The files of the views: one database, its write-ahead log, and what DuckDB works on when memory is short."""

import shutil
from pathlib import Path

from guildbook.primitives.errors import GuildbookError


def discard(path: Path | str) -> None:
    """Delete the views at ``path``, which no process may have open; the feed then builds them again from its start.

    Raises GuildbookError ``store.io`` when the operating system refuses.
    """
    place = Path(path)
    try:
        for part in (place, place.with_name(f"{place.name}.wal")):
            part.unlink(missing_ok=True)
        shutil.rmtree(place.with_name(f"{place.name}.tmp"), ignore_errors=True)
    except OSError as error:
        raise GuildbookError("store.io", f"the views at {place} cannot be deleted: {error.strerror}",
                             hint="check the permissions of the folder", path=str(place)) from error
