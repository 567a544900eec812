"""Freed memory goes back to the system where the C library can be told so."""

import platform

import pytest

from guildbook.node.allocator import OWN_MAPPING_SIZE_BYTES_MIN, give_back_freed_memory


def mapped_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library has this setting")
def test_a_large_piece_of_memory_goes_back_to_the_system_each_time_it_is_freed():
    assert give_back_freed_memory()
    piece, count = 8 * OWN_MAPPING_SIZE_BYTES_MIN, 64
    for _ in range(3):  # by itself the library keeps such pieces from the second time on
        pieces, walls = [], []
        for _ in range(count):
            pieces.append(bytearray(piece))
            walls.append(bytearray(OWN_MAPPING_SIZE_BYTES_MIN // 2))
        held = mapped_bytes()
        pieces.clear()
        assert held - mapped_bytes() > piece * count // 2
        assert len(walls) == count
