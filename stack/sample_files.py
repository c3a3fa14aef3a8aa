"""Recipes for sample files: text, images, compressed data. A seed always gives the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from itertools import count

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from PIL import Image

KIB = 1024
MIB = 1024 * KIB

#: Returns the content of one file, given a seeded random number generator.
Recipe = Callable[[random.Random], bytes]

_WORDS = (
    *("harbour", "freight", "crane", "signal", "logbook", "tide", "manifest", "cargo", "beacon"),
    *("pilot", "berth", "anchor", "hull", "lantern", "voyage", "current", "ballast", "rudder"),
    *("chart", "compass", "horizon", "quay", "convoy", "packet", "dock", "mooring", "sail"),
)
_CITIES = ("Aarhus", "Bergen", "Gdańsk", "Kyōto", "Málaga", "Oulu", "Porto", "Zürich")
_LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "WARNING", "ERROR")


def prose(size: int) -> Recipe:
    """Return a recipe for plain-text sentences of exactly ``size`` bytes."""
    return lambda rng: _truncate("".join(_take(size, (_sentence(rng) for _ in count()))), size)


def csv(size: int) -> Recipe:
    """Return a recipe for sensor readings as CSV with a header, about ``size`` bytes."""

    def rows(rng: random.Random) -> Iterator[str]:
        yield "reading,sensor,city,taken_at,value,unit,note\n"
        notes = [(_sentence(rng) + _sentence(rng)).replace("\n", " ") for _ in range(512)]
        for n in count():
            yield (
                f"{n},s-{n * 7919 % 997:03d},{_CITIES[n & 7]},{_timestamp(n)},"
                f"{rng.random() * 90:.3f},kPa,{notes[n * 31 & 511]}\n"
            )

    return lambda rng: "".join(_take(size, rows(rng))).encode()


def log(size: int) -> Recipe:
    """Return a recipe for log lines of a service, about ``size`` bytes."""

    def lines(rng: random.Random) -> Iterator[str]:
        messages = [(_sentence(rng) + _sentence(rng)).replace("\n", " ") for _ in range(512)]
        for n in count():
            noise = rng.getrandbits(40)
            yield (
                f"{_timestamp(n)} {_LEVELS[noise % 6]:<7} [worker-{noise & 7}] "
                f"request={noise:010x} took={noise & 1023}ms {messages[noise >> 10 & 511]}\n"
            )

    return lambda rng: "".join(_take(size, lines(rng))).encode()


def json_document(size: int) -> Recipe:
    """Return a recipe for a JSON array of orders, about ``size`` bytes."""

    def make(rng: random.Random) -> bytes:
        orders = _take(size, (json.dumps(_order(rng, n)) for n in count(1)))
        return ("[\n" + ",\n".join(orders) + "\n]\n").encode()

    return make


def json_lines(size: int) -> Recipe:
    """Return a recipe for JSON Lines, about ``size`` bytes."""

    def lines(rng: random.Random) -> Iterator[str]:
        bodies = [json.dumps(_order(rng, n, items=16))[1:] for n in range(512)]
        for n in count():
            yield f'{{"event": {n}, "at": "{_timestamp(n)}", {bodies[rng.getrandbits(9)]}\n'

    return lambda rng: "".join(_take(size, lines(rng))).encode()


def jpeg(width: int, height: int) -> Recipe:
    """Return a recipe for a JPEG with smooth areas, like a photograph."""
    return lambda rng: _encode(_landscape(rng, width, height), "JPEG", quality=90)


def png(width: int, height: int) -> Recipe:
    """Return a recipe for a PNG with flat areas and sharp edges, like a map."""

    def make(rng: random.Random) -> bytes:
        tiles = Image.frombytes(
            "RGB", (width // 8, height // 8), rng.randbytes(width * height // 64 * 3)
        )
        return _encode(
            tiles.resize((width, height), Image.Resampling.NEAREST), "PNG", compress_level=1
        )

    return make


def gzipped(recipe: Recipe) -> Recipe:
    """Return a recipe for another recipe's content, gzipped.

    There is no timestamp, so that it is reproducible.
    """
    return lambda rng: gzip.compress(recipe(rng), compresslevel=1, mtime=0)


def zipped(members: dict[str, Recipe], compression: int = zipfile.ZIP_DEFLATED) -> Recipe:
    """Return a recipe for a ZIP of other recipes' content.

    Its dates are of 1980, so that it is reproducible.
    """

    def make(rng: random.Random) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", compression, compresslevel=1) as archive:
            for name, recipe in members.items():
                archive.writestr(zipfile.ZipInfo(name), recipe(rng), compression)
        return target.getvalue()

    return make


def noise(size: int, *, header: bytes = b"") -> Recipe:
    """Return a recipe for ``size`` incompressible bytes that begin with ``header``."""

    def make(rng: random.Random) -> bytes:
        # The key stream of a cipher is 5 times as fast as the random module.
        stream = Cipher(AES(rng.randbytes(16)), CTR(bytes(16))).encryptor()
        return header + stream.update(bytes(size - len(header)))

    return make


#: The `ftyp` box that identifies an MP4 (ISO/IEC 14496-12, 4.3).
MP4_HEADER = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"


def _take(size: int, pieces: Iterator[str]) -> Iterator[str]:
    total = 0
    for piece in pieces:
        total += len(piece)
        yield piece
        if total >= size:
            return


def _truncate(text: str, size: int) -> bytes:
    return text.encode()[: size - 1] + b"\n"


def _sentence(rng: random.Random) -> str:
    words = rng.choices(_WORDS, k=rng.randrange(6, 14))
    return " ".join(words).capitalize() + ".\n"


def _timestamp(n: int) -> str:
    seconds, milliseconds = divmod(n * 37, 1000)
    return (
        f"2026-01-{seconds // 86400 % 28 + 1:02d}T{seconds // 3600 % 24:02d}"
        f":{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}Z"
    )


def _order(rng: random.Random, number: int, items: int = 3) -> dict[str, object]:
    return {
        "order": number,
        "city": rng.choice(_CITIES),
        "total": round(rng.random() * 500, 2),
        "items": rng.choices(_WORDS, k=items),
    }


def _landscape(rng: random.Random, width: int, height: int) -> Image.Image:
    coarse = Image.frombytes(
        "RGB", (width // 6, height // 6), rng.randbytes(width // 6 * (height // 6) * 3)
    )
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()
