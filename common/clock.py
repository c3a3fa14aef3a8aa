"""The clock of a process, as a parameter: a simulation runs the code on a virtual one.

The module ``time`` is the implementation that production uses.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The functions of the module ``time`` that the code uses."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    def monotonic(self) -> float:
        """Return the seconds since any moment; never goes back."""

    def sleep(self, seconds: float, /) -> None:
        """Return after ``seconds``."""
