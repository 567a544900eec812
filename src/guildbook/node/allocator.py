"""What the C library does with memory that the node has given back."""

import ctypes

OWN_MAPPING_SIZE_BYTES_MIN = 131_072
"""From this size on a piece of memory is mapped by itself, and goes back to the system when it is freed."""
_M_MMAP_THRESHOLD = -3


def give_back_freed_memory() -> bool:
    """Let large pieces of memory go back to the system as soon as they are freed; False where this cannot be set.

    By itself the GNU C library moves this limit up to 32 MiB as such pieces are freed, and keeps what the largest block
    once took. It is found again between pieces that are still in use: on a node under load that is 60 MB.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library
    return bool(mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_SIZE_BYTES_MIN))
