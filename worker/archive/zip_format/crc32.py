"""CRC-32 (ISO 3309, as ZIP and S3 use it), and the CRC of bytes joined from those of the pieces."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from zlib_ng import zlib_ng

POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def crc32(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The CRC of what ``value`` stands for followed by ``data``."""
    return int(zlib_ng.crc32(data, value))


def combine(first: int, second: int, second_length: int) -> int:
    """The CRC of A followed by B from the CRCs of both and the length of B in bytes.

    Appending n bytes multiplies A's remainder by x^(8n) modulo the polynomial; this is how zlib's
    ``crc32_combine`` does it, which Python's zlib does not export.
    """
    return _multiply(_power_of_x(8 * second_length), first) ^ second


def join(pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC of pieces in a row, each given as (CRC, length)."""
    value = 0
    for piece, length in pieces:
        value = combine(value, piece, length)
    return value


def _multiply(a: int, b: int) -> int:
    """Product modulo the polynomial; bit 31 is the coefficient of x^0."""
    product, mask = 0, _ONE
    while a:
        if a & mask:
            product ^= b
            a ^= mask
        mask >>= 1
        b = (b >> 1) ^ POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=4096)
def _power_of_x(exponent: int) -> int:
    result, bit = _ONE, 0
    while exponent >> bit:
        if exponent >> bit & 1:
            result = _multiply(_square(bit), result)
        bit += 1
    return result


@lru_cache(maxsize=64)
def _square(bit: int) -> int:
    """x to the power of 2^bit."""
    if bit == 0:
        return _ONE >> 1
    root = _square(bit - 1)
    return _multiply(root, root)
