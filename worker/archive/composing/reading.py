"""Errors of the storage that are about one of the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import FileChanged, FileNotFound
from common.object_storage import NoSuchKey, NoSuchUpload
from common.sources.files import name_file


@contextmanager
def reading_file(file_id: int) -> Iterator[None]:
    """Name the file in the error if it disappears or changes while it is read or copied."""
    try:
        yield
    except NoSuchUpload:
        raise
    except NoSuchKey as error:
        raise name_file(FileNotFound(f"File {file_id} no longer exists"), file_id) from error
    except FileChanged as error:
        name_file(error, file_id)
        raise
