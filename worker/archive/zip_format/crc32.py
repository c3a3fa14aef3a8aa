"""CRC-32 as ZIP and S3 use it (ISO 3309), and the CRC of concatenated bytes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from zlib_ng import zlib_ng

POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def crc32(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Return the CRC of ``data``, appended to the bytes whose CRC is ``value``."""
    return int(zlib_ng.crc32(data, value))


def combine(first: int, second: int, second_length: int) -> int:
    """Return the CRC of A followed by B, from the CRCs of both and the length of B in bytes.

    Appending n bytes multiplies A's remainder by x^(8n) modulo the polynomial. This is zlib's
    ``crc32_combine``, which Python's zlib does not export.
    """
    if not first:
        return second
    return _multiply(_power_of_x(8 * second_length), first) ^ second


def join(blocks: Iterable[tuple[int, int]]) -> int:
    """Return the CRC of concatenated blocks, each given as (CRC, length)."""
    value = 0
    for crc, length in blocks:
        value = combine(value, crc, length)
    return value


def _multiply(a: int, b: int) -> int:
    """Return the product modulo the polynomial; bit 31 is the coefficient of x^0."""
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
    """Return x to the power of 2^bit."""
    if bit == 0:
        return _ONE >> 1
    root = _square(bit - 1)
    return _multiply(root, root)
