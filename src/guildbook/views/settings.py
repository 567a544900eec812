"""How much the views may use, and how they follow the chain."""

import msgspec

_MIB = 1024 * 1024
BASES_LOG_FACTOR = 4


class ViewsSettings(msgspec.Struct, frozen=True, array_like=True):
    """Bounds of one instance of the views.

    ``memory_bytes_max``: what DuckDB may hold, above which it works on disk. ``threads``: how many it uses.
    ``temporary_bytes_max``: how much disk it may work on. ``log_bytes_max``: how large the write-ahead log of the
    histories grows before it is written into the file, for which the feed waits; that of the bases, for which it does
    not, grows ``BASES_LOG_FACTOR`` times as large. ``first_height``: where the feed of new views begins; above 0 the
    first block must insert every row that there is.

    The rest is for the views' own process. ``coalesce_ms``: blocks that arrive within it go into one database
    transaction. ``queries_max``: statements that run at once; ``waiting_max``: statements that may wait besides.
    ``overhead_bytes_max``: what the process may hold besides ``memory_bytes_max``; beyond that the system refuses it
    memory, and the statement that asked for it fails (0: no bound).
    """

    memory_bytes_max: int = 128 * _MIB
    threads: int = 2
    temporary_bytes_max: int = 4096 * _MIB
    log_bytes_max: int = 16 * _MIB
    first_height: int = 0
    coalesce_ms: int = 200
    queries_max: int = 4
    waiting_max: int = 64
    overhead_bytes_max: int = 896 * _MIB


DEFAULT_SETTINGS = ViewsSettings()
