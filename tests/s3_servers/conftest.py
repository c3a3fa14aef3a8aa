"""One S3 server after another, each with its profile; S3_SERVERS selects them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from common.errors import StorageError
from common.object_storage import ObjectStorage, StorageProfile
from common.sources import Source, source_from_template
from stack.process import wait_until
from tests.s3_servers.servers import DEFAULT, DEFAULT_QUICK, Endpoint, S3Server, selected
from worker.archive import BuildOptions
from worker.archive.planning.layout import PartSizes
from worker.archive.storage_probe import probe_storage

#: Run on the modeled servers, too, in every run of the tests.
QUICK = {
    "test_the_server_has_the_profile_in_the_documentation",
    "test_an_archive_contains_all_files_and_nothing_else_remains",
}


@dataclass(frozen=True, kw_only=True)
class ServerUnderTest:
    """A running server, as a worker that has probed it sees it."""

    server: S3Server
    endpoint: Endpoint
    storage: ObjectStorage
    profile: StorageProfile
    archives: str
    has_lifecycle: bool

    def new_bucket(self) -> str:
        bucket = f"files-{uuid.uuid4().hex[:8]}"
        self.storage.ensure_bucket(bucket)
        return bucket

    def source(
        self, bucket: str, template: str = "{file_id}", storage: ObjectStorage | None = None
    ) -> Source:
        return source_from_template(f"s3://{bucket}/{template}", storage=storage or self.storage)

    def options(self, **changes: object) -> BuildOptions:
        return BuildOptions(
            can_copy=self.profile.can_compose,
            part_sizes=PartSizes(
                equal_parts=not self.profile.mixed_parts, copy_size=8 * 1024 * 1024
            ),
            **changes,  # type: ignore[arg-type]
        )

    def read(self, bucket: str, key: str) -> bytes:
        view = memoryview(bytearray(self.storage.head_object(bucket, key).size))
        self.storage.read_into(bucket, key, view)
        return bytes(view)

    def remains(self) -> list[str]:
        """Return open uploads and temporary objects."""
        uploads = [u.key for u in self.storage.list_multipart_uploads(self.archives, "")]
        objects = [o.key for o in self.storage.list_objects_v2(self.archives)]
        # JuiceFS lists the folders of deleted objects.
        return uploads + [key for key in objects if "/parts/" in key and not key.endswith("/")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tested" in metafunc.fixturenames:
        names = os.environ.get("S3_SERVERS") or DEFAULT
        if "S3_SERVERS" not in os.environ and metafunc.function.__name__ in QUICK:
            names = DEFAULT_QUICK
        servers = selected(names)
        metafunc.parametrize(
            "tested", servers, ids=lambda server: server.name, indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def tested(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerUnderTest]:
    server: S3Server = request.param
    with server.start(tmp_path_factory.mktemp(server.name)) as endpoint:
        storage = ObjectStorage(
            endpoint=endpoint.url,
            region="us-east-1",
            access_key=endpoint.access_key,
            secret_key=endpoint.secret_key,
        )

        def is_ready() -> bool:
            try:
                storage.ensure_bucket("ready")
            except StorageError:
                return False
            return True

        wait_until(is_ready, f"the first bucket of {server.name}", 60)
        has_lifecycle = storage.ensure_bucket("archives", ttl=86_400)
        profile = storage.profile = probe_storage(storage, "archives")
        yield ServerUnderTest(
            server=server,
            endpoint=endpoint,
            storage=storage,
            profile=profile,
            archives="archives",
            has_lifecycle=has_lifecycle,
        )
        storage.close()
