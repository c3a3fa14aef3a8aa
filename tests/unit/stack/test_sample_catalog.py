"""The sample catalog: reproducible content and valid files of every type."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from email.header import decode_header, make_header

import pytest
from PIL import Image

from stack.sample_catalog import CATALOG, MISSING_ID, SampleFile, metadata_text
from stack.sample_files import KIB, MIB


@pytest.fixture(scope="module")
def contents() -> dict[int, bytes]:
    return {sample.file_id: sample.make() for sample in CATALOG}


@pytest.mark.parametrize("sample", CATALOG, ids=lambda sample: sample.key)
def test_content_is_reproducible(sample: SampleFile, contents: dict[int, bytes]) -> None:
    assert sample.make() == contents[sample.file_id]


def test_ids_are_10001_to_10020_and_do_not_include_the_missing_one() -> None:
    ids = [sample.file_id for sample in CATALOG]
    assert ids == list(range(10001, 10021))
    assert MISSING_ID not in ids


def test_sizes_are_1_kib_to_64_mib_and_about_300_mib_in_total(contents: dict[int, bytes]) -> None:
    sizes = [len(content) for content in contents.values()]
    assert min(sizes) == KIB
    assert max(sizes) == 64 * MIB
    assert 270 * MIB < sum(sizes) < 330 * MIB


def test_no_two_files_have_the_same_content(contents: dict[int, bytes]) -> None:
    assert len(set(contents.values())) == len(CATALOG)


def test_every_file_matches_its_extension(contents: dict[int, bytes]) -> None:
    for sample in CATALOG:
        _open(sample.name.rpartition(".")[2], contents[sample.file_id])


def test_two_files_have_the_same_name() -> None:
    assert len({sample.name for sample in CATALOG}) == len(CATALOG) - 1


@pytest.mark.parametrize("sample", CATALOG, ids=lambda sample: sample.key)
def test_names_survive_the_ascii_only_metadata_of_s3(sample: SampleFile) -> None:
    stored = metadata_text(sample.name)
    assert stored.isascii()
    assert str(make_header(decode_header(stored))) == sample.name


def _open(kind: str, content: bytes) -> None:
    match kind:
        case "png" | "jpg":
            Image.open(io.BytesIO(content)).verify()
        case "zip":
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        case "gz":
            assert gzip.decompress(content).endswith(b"\n")
        case "json":
            assert json.loads(content)
        case "jsonl":
            assert all(json.loads(line)["at"] for line in content.splitlines()[:1000])
        case "csv":
            rows = csv.reader(io.StringIO(content.decode()))
            assert {len(row) for row in rows} == {7}
        case "txt" | "log":
            assert content.decode().endswith("\n")
        case "mp4":
            assert content[4:8] == b"ftyp"
        case _:
            pytest.fail(f"no check for .{kind}")
