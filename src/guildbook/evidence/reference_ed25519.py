"""Ed25519 by the ZIP-215 rules in plain Python: the auditor's reading of the rule, and the stand-alone
verifier's.

The curve is -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo p = 2^255 - 19, with the base point B of
prime order L. A signature (R, S) of a message M by the key A holds if S < L and [8][S]B = [8]R + [8][k]A,
where k is the SHA-512 of R, A and M as received, modulo L. A and R may be any encoding of a curve point: y at
or above p, and x = 0 with the sign bit, are accepted. Points are kept as (X, Y, Z, T) with x = X/Z, y = Y/Z
and xy = T/Z, for which the addition law has no exceptions.

It verifies only and handles no secret, so it need not run in constant time: about four milliseconds a
signature.

Sources: RFC 8032, section 5.1; ZIP 215 (Zcash, 2020); Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves
Revisited" (2008).
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point: TypeAlias = tuple[int, int, int, int]
IDENTITY: Point = (0, 1, 1, 0)


def _add(one: Point, other: Point) -> Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a = (y1 - x1) * (y2 - x2)
    b = (y1 + x1) * (y2 + x2)
    c = 2 * D * t1 % P * t2
    d = 2 * z1 * z2
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(point: Point) -> Point:
    x, y, z, _ = point
    a, b = x * x, y * y
    h = a + b
    e = (h - (x + y) * (x + y)) % P
    g = (a - b) % P
    f = (2 * z * z + g) % P
    h %= P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _point(encoded: bytes) -> Point | None:
    """The point that 32 bytes encode by ZIP-215, or None."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, (number & ((1 << 255) - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * SQRT_MINUS_ONE % P
        if (v * x * x - u) % P:
            return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def _base_point() -> Point:
    point = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert point is not None, "y = 4/5 is on the curve"
    return point


B = _base_point()


def ed_verify(signature: bytes, message: bytes, raw_key: bytes) -> bool:
    """Whether `signature` (64 bytes) is one of `message` by `raw_key` (32 bytes); never raises, whatever the
    lengths.
    """
    if len(signature) != 64 or len(raw_key) != 32:
        return False
    a, r, s = _point(raw_key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + raw_key + message).digest(), "little") % L
    minus_a: Point = (-a[0] % P, a[1], 1, -a[3] % P)
    both = _add(B, minus_a)
    total = IDENTITY  # becomes [S]B - [k]A, one bit of both factors at a time
    for bit in range(252, -1, -1):
        total = _double(total)
        in_s, in_k = s >> bit & 1, k >> bit & 1
        if in_s or in_k:
            total = _add(total, both if in_s and in_k else B if in_s else minus_a)
    total = _add(total, (-r[0] % P, r[1], 1, -r[3] % P))
    for _ in range(3):
        total = _double(total)
    return total[0] == 0 and total[1] == total[2]
