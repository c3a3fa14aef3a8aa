"""Archives of unusual shapes, unpacked with the tools that people use.

The large ones are sparse files: their members are zeros, laid out by the real planner.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.zip_tools import TOOLS, UNPACKERS, require, run
from worker.archive.planning.layout import Item, PartSizes, SpanKind
from worker.archive.planning.plan import make_plan
from worker.archive.zip_format.crc32 import combine, crc32
from worker.archive.zip_format.names import safe_name, safe_path, unique_names

GIB = 1024**3


def crc_of_zeros(length: int) -> int:
    """Return the CRC of zeros, by doubling, so that gigabytes take no time."""
    value, piece, size = 0, crc32(b"\0"), 1
    while length:
        if length & 1:
            value = combine(value, piece, size)
        piece, size, length = combine(piece, piece, size), size * 2, length >> 1
    return value


def write(path: Path, files: list[tuple[str, bytes | int]]) -> None:
    """Write an archive of ``files``; a number means a file of that many zeros, left sparse."""
    items = [
        Item(
            raw_name=name.encode(),
            size=content if isinstance(content, int) else len(content),
            time=1_767_323_045,
            copyable=True,
        )
        for name, content in files
    ]
    plan = make_plan(items, PartSizes())
    crcs = [crc_of_zeros(c) if isinstance(c, int) else crc32(c) for _, c in files]
    with path.open("wb") as archive:
        archive.truncate(plan.size)
        for part in plan.parts:
            offset = part.offset
            for span in part.spans:
                archive.seek(offset)
                offset += span.length
                content = files[span.item][1]
                if span.kind is SpanKind.HEADER:
                    archive.write(plan.header(span.item, crcs[span.item]))
                elif span.kind is SpanKind.DIRECTORY:
                    archive.write(plan.directory(crcs)[span.start : span.start + span.length])
                elif isinstance(content, bytes):
                    archive.write(content[span.start : span.start + span.length])
    assert path.stat().st_size == plan.size


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(5)
    names = [
        "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 300 + ".txt", "\u202etxt.exe", "CON",
        "same.txt", "same.txt", "SAME.txt", "שלום.txt", "空 文件.txt", "👩\u200d💻.png", "", "a\\b",
    ]  # fmt: skip
    safe = unique_names(safe_name(name, fallback=f"file-{i}") for i, name in enumerate(names))
    path = tmp_path_factory.mktemp("zips") / "hostile.zip"
    write(path, [(name, rng.randbytes(rng.choice([0, 1, 5000]))) for name in safe])
    return path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_tools_accept_hostile_names_and_empty_files(
    hostile: Path, tool: Callable[[Path, int], None]
) -> None:
    tool(hostile, 14)


#: What a client may request, and where each tool must unpack it.
FOLDERS = {
    "reports/2026/april.txt": "reports/2026/april.txt",
    "reports\\2026\\may.txt": "reports/2026/may.txt",
    "../../etc/passwd": "etc/passwd",
    "/etc/shadow": "etc/shadow",
    "C:\\Windows\\x.ini": "Windows/x.ini",
    "a": "a (2)",
    "a/b": "a/b",
    "a/B": "a/B (2)",
    "CON/nul.txt": "_CON/_nul.txt",
    "שלום/空 文件/👩\u200d💻.png": "שלום/空 文件/👩\u200d💻.png",
    "e\u0301te\u0301/x.txt": "\xe9t\xe9/x.txt",
    "x" * 300 + "/" + "y" * 300 + ".txt": "x" * 255 + "/" + "y" * 251 + ".txt",
    "deep/" * 40 + "leaf.txt": "deep/" * 40 + "leaf.txt",
    "top.txt": "top.txt",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = unique_names(safe_path(path, own_name="f") for path in FOLDERS)
    assert names == list(FOLDERS.values())
    path = tmp_path_factory.mktemp("zips") / "folders.zip"
    write(path, [(name, name.encode()) for name in names])
    return path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_tools_accept_folders(folders: Path, tool: Callable[[Path, int], None]) -> None:
    tool(folders, len(FOLDERS))


@pytest.mark.parametrize("unpack", UNPACKERS, ids=lambda unpack: unpack.__name__)
def test_tools_unpack_files_into_their_folders(
    folders: Path, tmp_path: Path, unpack: Callable[[Path, Path], None]
) -> None:
    unpack(folders, tmp_path)
    unpacked = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert unpacked == {name: name.encode() for name in FOLDERS.values()}


@pytest.fixture(scope="module")
def many_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zips") / "many_folders.zip"
    paths = (f"year {i % 10}/customer {i % 1000}/" for i in range(10_000))
    names = unique_names(safe_path(path, own_name="report.pdf") for path in paths)
    write(path, [(name, b"%d" % i) for i, name in enumerate(names)])
    return path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_tools_accept_ten_thousand_files_in_a_thousand_folders(
    many_folders: Path, tool: Callable[[Path, int], None]
) -> None:
    tool(many_folders, 10_000)


@pytest.fixture(scope="module")
def many_members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zips") / "many_members.zip"
    write(path, [(f"file-{i}.txt", b"%d" % i) for i in range(70_000)])
    return path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_tools_accept_seventy_thousand_members(
    many_members: Path, tool: Callable[[Path, int], None]
) -> None:
    tool(many_members, 70_000)


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zips") / "huge.zip"
    write(path, [
        ("first.txt", b"first"), ("five.bin", 5 * GIB), ("middle.txt", b"middle"),
        ("four.bin", 4 * GIB), ("last.txt", b"last"),
    ])  # fmt: skip
    return path


def test_tools_read_both_ends_of_nine_gibibytes_with_a_member_of_five(huge: Path) -> None:
    with zipfile.ZipFile(huge) as opened:
        assert [i.file_size for i in opened.infolist()] == [5, 5 * GIB, 6, 4 * GIB, 4]
        assert opened.read("first.txt") == b"first"
        assert opened.read("middle.txt") == b"middle"
        assert opened.read("last.txt") == b"last"
    assert "four.bin" in run(require("unzip"), "-Z1", huge)
    assert run(require("unzip"), "-p", huge, "last.txt") == "last"


def test_members_have_the_times_of_the_files() -> None:
    buffer = io.BytesIO()
    item = Item(raw_name=b"a", size=0, time=1_767_323_045, copyable=False)
    plan = make_plan([item], PartSizes())
    buffer.write(plan.header(0, 0) + plan.directory([0]))
    with zipfile.ZipFile(buffer) as opened:
        assert opened.infolist()[0].date_time == (2026, 1, 2, 3, 4, 4)
        assert opened.infolist()[0].extra == b"UT\x05\x00\x01" + (1_767_323_045).to_bytes(
            4, "little"
        )
