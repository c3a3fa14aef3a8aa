"""AUTHORIZED_FILES_CLAIM: a claim of the token lists the user's files, by ID and range."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import structlog

#: Lists of ranges that are kept parsed; one takes at most 200 KB, because tokens are short.
MAX_CACHED_CLAIMS: Final = 128

_EVERYTHING: Final = "*"
_SEPARATOR = re.compile(r"[,\s]+")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?\Z")

log = structlog.get_logger(__name__)


class ClaimedFiles:
    """Allows the files in a claim: a list such as ``[7, "100-199"]``, or a string ``"7,100-199"``.

    ``"*"`` stands for every file. A token without the claim, or with one that is malformed, allows
    nothing.
    """

    allows_everything = False
    is_revocable = False

    def __init__(self, claim: str) -> None:
        self._claim = claim

    def select_claims(self, claims: Mapping[str, Any]) -> str:
        """Return the one claim, in JSON of ASCII characters."""
        if self._claim not in claims:
            return "{}"
        return json.dumps({self._claim: claims[self._claim]}, separators=(",", ":"))

    def denied(
        self,
        user: str,  # noqa: ARG002
        claims: str,
        file_ids: Sequence[int],
    ) -> frozenset[int]:
        allowed = _Ranges.from_claims(claims, self._claim)
        return frozenset(file_id for file_id in file_ids if file_id not in allowed)


class _Ranges:
    """A set of integers as sorted ranges that do not overlap."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._ends: list[int] = []
        self._starts: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1] + 1:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]

    @staticmethod
    @lru_cache(maxsize=MAX_CACHED_CLAIMS)
    def from_claims(claims: str, name: str) -> _Ranges:
        """Return the ranges in the claim; none if it is absent or malformed."""
        try:
            return _Ranges(list(_parse(json.loads(claims).get(name, []))))
        except ValueError as error:
            log.warning("a token's list of files is malformed", claim=name, reason=str(error))
            return _Ranges([])


def _parse(value: Any) -> Iterator[tuple[int, int]]:
    if isinstance(value, str):
        value = [part for part in _SEPARATOR.split(value) if part]
    if not isinstance(value, list):
        raise ValueError("neither a list nor a string")  # noqa: TRY004
    for part in value:
        if part == _EVERYTHING:
            yield -(10**18), 10**18
        elif type(part) is int and part >= 0:
            yield part, part
        elif isinstance(part, str) and (found := _RANGE.match(part)):
            start, end = int(found[1]), int(found[2] or found[1])
            if start > end:
                raise ValueError("a range ends before it starts")
            yield start, end
        else:
            raise ValueError("an entry is neither an ID nor a range")
