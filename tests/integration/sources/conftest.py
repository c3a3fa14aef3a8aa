"""Downloads from origins that misbehave, through the whole archive engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from common.errors import DownloadError
from common.sources.http import HttpSource
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.fake_s3 import FakeS3
from tests.support.raw_origin import RawOrigin, Request, Step
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes

#: So small that a test's files are read by several ranged requests.
PART_SIZES = PartSizes(min_part_size=100, write_size=5000, copy_size=9000)


class Download:
    """A source at an origin, and archives of its files."""

    def __init__(
        self, origin: RawOrigin, *, host: str | None = None, scheme: str = "http", **options: Any
    ) -> None:
        """``host`` is another name of the origin. ``options`` are those of ``HttpSource``."""
        self.origin = origin
        self.source = HttpSource(f"{scheme}://{host or origin.host}/files/{{file_id}}", **options)

    def archive(self, *file_ids: int, **changes: Any) -> dict[str, bytes]:
        """Return the members of an archive of the files, by name."""
        storage = FakeS3()
        artifact = build(
            make_request(list(file_ids or (1,)), **changes),
            source=self.source,
            storage=storage,
            control=RecordingControl(),
            options=BuildOptions(part_sizes=PART_SIZES),
        )
        assert storage.open_uploads == {}
        return contents(storage.objects["archives", artifact.key].data)

    def error(self, *file_ids: int, **changes: Any) -> str:
        """Return the error code that the job fails with."""
        with pytest.raises(DownloadError) as failed:
            self.archive(*file_ids, **changes)
        return failed.value.code


Serve = Callable[[Request], Iterable[Step] | bytes]
Downloads = Callable[..., Download]


@pytest.fixture
def download() -> Iterator[Downloads]:
    """Start an origin that serves requests as the given function says."""
    started: list[Download] = []

    def start(serve: Serve, **options: Any) -> Download:
        started.append(Download(RawOrigin(serve), **options))
        return started[-1]

    yield start
    for each in started:
        each.source.close()
        each.origin.close()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.object_storage.retries.BASE_DELAY", 0.001)
