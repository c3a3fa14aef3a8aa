"""Archives with folders, with a file at several places, and with a manifest on request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import FileTooLarge
from common.jobs.model import OnMissing
from common.sources.files import SourceFile
from common.sources.s3 import S3Source
from tests.support.archives import RecordingControl, contents, make_request
from tests.support.small_catalog import SmallCatalog
from worker.archive import BuildOptions, build
from worker.archive.planning.layout import PartSizes

pytestmark = pytest.mark.usefixtures("narrow")

#: Small ones are written, the others are copied.
SIZES = [10, 500, 3000, 0, 120]
PATHS = ("a/zero.bin", "b/c/", None, "a/", "../b/four.bin")
NAMES = ["a/zero.bin", "b/c/1.bin", "2.bin", "a/3.bin", "b/four.bin"]


class WithoutVersions(S3Source):
    """A source whose files can only be streamed through the worker."""

    def describe(self, *args: Any, **kwargs: Any) -> Any:
        return [
            replace(file, etag=None, ranged=False, location=None)
            if isinstance(file, SourceFile)
            else file
            for file in super().describe(*args, **kwargs)
        ]


def run_by_copy(catalog: SmallCatalog, **request: Any) -> Any:
    return catalog.run(can_copy=True, **request)


def run_by_write(catalog: SmallCatalog, **request: Any) -> Any:
    return catalog.run(can_copy=False, **request)


def run_streamed(catalog: SmallCatalog, **request: Any) -> Any:
    catalog.control = RecordingControl()
    return build(
        make_request(**{"file_ids": list(catalog.files), **request}),
        source=WithoutVersions(catalog.storage, bucket="files", key_template="{file_id}"),
        storage=catalog.storage,
        control=catalog.control,
    )


@pytest.fixture(params=[run_by_copy, run_by_write, run_streamed], ids=lambda run: run.__name__)
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


def test_files_are_at_their_paths_in_the_order_of_the_request(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog(SIZES)
    archive = catalog.archive(run(catalog, paths=PATHS))
    expected = dict(zip(NAMES, catalog.files.values(), strict=True))
    assert list(contents(archive).items()) == list(expected.items())
    assert [catalog.control.reports[i]["name"] for i in range(5)] == NAMES
    assert catalog.control.files == 5


def test_a_file_can_be_at_several_paths(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog(SIZES)
    artifact = run(catalog, file_ids=(2, 0, 2, 0), paths=("a/", "x", "b/", "y"))
    two, zero = catalog.files[2], catalog.files[0]
    assert contents(catalog.archive(artifact)) == {
        "a/2.bin": two,
        "x": zero,
        "b/2.bin": two,
        "y": zero,
    }
    assert catalog.control.total == catalog.control.done == 2 * (3000 + 10)
    assert {key: report["name"] for key, report in catalog.control.reports.items()} == {
        2: "a/2.bin",
        0: "x",
        (2, 1): "b/2.bin",
        (0, 1): "y",
    }


def test_each_path_counts_for_the_limit_of_bytes() -> None:
    catalog = SmallCatalog(SIZES)
    with pytest.raises(FileTooLarge):
        catalog.run(file_ids=(2, 2), paths=("a", "b"), max_bytes=5999)


def test_long_paths_do_not_count_for_the_limit_of_bytes(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog(SIZES)
    longest = "/".join(["f" * 255] * 3)
    artifact = run(
        catalog, paths=tuple(f"{longest}/{i}{'n' * 254}" for i in range(5)), max_bytes=sum(SIZES)
    )
    names = list(contents(catalog.archive(artifact)))
    assert [len(name) for name in names] == [1023] * 5


def test_missing_files_are_reported_for_each_path(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog(SIZES)
    catalog.storage.objects.pop(("files", "1"))
    artifact = run(
        catalog,
        file_ids=(1, 0, 1),
        paths=("a/", "b/", "c/"),
        on_missing=OnMissing.SKIP,
    )
    manifest = json.loads(contents(catalog.archive(artifact))["MANIFEST.json"])
    assert [file["name"] for file in manifest["files"]] == ["b/0.bin"]
    assert [file["fileId"] for file in manifest["missing"]] == [1]
    assert artifact.missing_files == 2
    assert catalog.control.reports[1]["state"] == "missing"
    assert catalog.control.reports[1, 1]["state"] == "missing"


def test_a_manifest_is_added_on_request(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog([10, 500])
    archive = contents(catalog.archive(run(catalog, paths=("a/b", None), manifest=True)))
    assert list(archive) == ["a/b", "1.bin", "MANIFEST.json"]
    manifest = json.loads(archive["MANIFEST.json"])
    assert manifest["missing"] == []
    assert [(f["fileId"], f["name"], f["size"]) for f in manifest["files"]] == [
        (0, "a/b", 10),
        (1, "1.bin", 500),
    ]


def test_a_manifest_has_the_sha256s_that_the_storage_knows(run: Callable[..., Any]) -> None:
    catalog = SmallCatalog([10, 500])
    digest = hashlib.sha256(catalog.files[1]).hexdigest()
    without = run(catalog, manifest=True).key
    plain = run(catalog).key
    catalog.storage.objects["files", "1"].sha256 = digest
    for key in [key for key in catalog.storage.objects if key[0] != "files"]:
        del catalog.storage.objects[key]
    for _ in range(2):  # The second time, the index describes the files.
        artifact = run(catalog, manifest=True)
        manifest = json.loads(contents(catalog.archive(artifact))["MANIFEST.json"])
        assert [file.get("sha256") for file in manifest["files"]] == [None, digest]
    if run is not run_streamed:
        assert artifact.key != without
        assert run(catalog).key == plain


@pytest.mark.parametrize("extra", [{"paths": ("x/",)}, {"paths": ("x",)}, {"manifest": True}])
def test_a_single_file_with_a_path_or_manifest_is_delivered_in_an_archive(
    extra: dict[str, Any],
) -> None:
    catalog = SmallCatalog([10])
    assert catalog.run(direct_single_file=True).key == "0"
    artifact = catalog.run(direct_single_file=True, **extra)
    assert artifact.key.endswith("/archive.zip")


def test_the_same_request_gives_the_same_bytes(run: Callable[..., Any]) -> None:
    first, second = SmallCatalog(SIZES), SmallCatalog(SIZES)
    request = {"file_ids": (0, 1, 2, 1), "paths": ("a/", "b/x", None, "c/x"), "manifest": True}
    archives = [catalog.archive(run(catalog, **request)) for catalog in (first, second)]
    assert archives[0] == archives[1]


def test_an_archive_is_found_again_only_for_the_same_paths_and_manifest() -> None:
    catalog = SmallCatalog(SIZES)
    requests: list[dict[str, Any]] = [
        {},
        {"paths": PATHS},
        {"paths": (*PATHS[:4], "b/other.bin")},
        {"manifest": True},
        {"paths": PATHS, "manifest": True},
    ]
    keys = [catalog.run(**request).key for request in requests]
    assert len(set(keys)) == len(requests)
    catalog.storage.calls.clear()
    assert [catalog.run(**request).key for request in requests] == keys
    assert not {"upload_part_copy", "upload_part"} & set(catalog.storage.calls)


def test_a_manifest_on_request_is_the_one_of_a_job_that_skips_missing_files() -> None:
    catalog = SmallCatalog(SIZES)
    assert catalog.run(manifest=True).key == catalog.run(on_missing=OnMissing.SKIP).key


def test_archives_without_paths_have_the_ids_of_earlier_releases() -> None:
    """Archives and indexes in the bucket are found by these keys."""
    catalog = SmallCatalog(SIZES)
    plain, skipping = catalog.run(), catalog.run(on_missing=OnMissing.SKIP)
    assert plain.key == "archives/7b8e355c79fd6c11531d736bf9e3b557f1088c14/archive.zip"
    assert plain.checksum == "crc32:05e4660b"
    assert skipping.key == "archives/608159dabd6018bf6f6e657523ce592ae577f9a9/archive.zip"
    assert skipping.checksum == "crc32:e53301ce"
    assert {key for _, key in catalog.storage.objects if key.startswith("indexes/")} == {
        "indexes/6484c68c0c85987f9beb3db42175c469.json"
    }


def test_requests_with_other_paths_have_indexes_of_their_own() -> None:
    catalog = SmallCatalog(SIZES)
    for paths in ((), PATHS, tuple(reversed(PATHS))):
        catalog.run(paths=paths)
    indexes = [key for _, key in catalog.storage.objects if key.startswith("indexes/")]
    assert len(indexes) == 3


def test_a_rebuild_takes_unchanged_files_from_the_previous_archive() -> None:
    catalog = SmallCatalog([50] * 12)
    request = {"file_ids": (*range(12), 3), "paths": (*[f"f{i % 3}/" for i in range(12)], "x/y")}
    artifact = catalog.run(**request)
    changed = b"changed" * 10
    catalog.files[7] = changed
    catalog.storage.add_object("files", "7", changed, metadata={"filename": "7.bin"})
    counts: dict[str, int] = {}
    second = build(
        make_request(**request),
        source=S3Source(catalog.storage, bucket="files", key_template="{file_id}"),
        storage=catalog.storage,
        control=RecordingControl(),
        options=BuildOptions(
            part_sizes=PartSizes(min_part_size=100, write_size=150, copy_size=400),
            report=counts.update,
        ),
    )
    assert second.key != artifact.key
    assert counts["reused"] > 0
    archive = contents(catalog.archive(second))
    assert archive["f1/7.bin"] == changed
    assert archive["f0/3.bin"] == archive["x/y"] == catalog.files[3]


paths = st.lists(st.sampled_from(["a/", "a/x", "b/../a/x", "a", None, "A/x/y"]), min_size=5)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.integers(0, 400), min_size=5, max_size=5),
    st.lists(st.integers(0, 4), min_size=5, max_size=9),
    paths,
    st.booleans(),
)
def test_any_request_becomes_a_correct_archive(
    sizes: list[int], file_ids: list[int], requested: list[str | None], can_copy: bool
) -> None:
    count = min(len(file_ids), len(requested))
    catalog = SmallCatalog(sizes)
    artifact = catalog.run(
        can_copy=can_copy, file_ids=tuple(file_ids[:count]), paths=tuple(requested[:count])
    )
    members = contents(catalog.archive(artifact))
    assert list(members.values()) == [catalog.files[file_id] for file_id in file_ids[:count]]
    catalog.assert_nothing_left_behind()
