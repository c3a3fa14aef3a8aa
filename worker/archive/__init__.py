"""Gathers files into one ZIP in the object storage."""

from worker.archive.build import build
from worker.archive.request import BuildRequest

__all__ = ["BuildRequest", "build"]
