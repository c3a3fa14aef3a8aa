"""Builds one ZIP archive from many files, in the object storage."""

from worker.archive.build import BuildOptions, BuildRequest, build

__all__ = ["BuildOptions", "BuildRequest", "build"]
