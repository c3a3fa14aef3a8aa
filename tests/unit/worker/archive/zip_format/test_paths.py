"""Paths inside archives: hostile ones, long ones, and those that collide."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive.zip_format.names import (
    MAX_BYTES,
    MAX_PATH_BYTES,
    safe_name,
    safe_path,
    unique_names,
)


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        ("reports/april.pdf", "reports/april.pdf"),
        ("april.pdf", "april.pdf"),
        ("reports/", "reports/own.txt"),
        ("/", "own.txt"),
        ("a/b/c/d/e.txt", "a/b/c/d/e.txt"),
        # APPNOTE 6.3.10, 4.4.17.1: relative, with slashes, and without a drive letter.
        ("/etc/passwd", "etc/passwd"),
        ("//server/share/x.txt", "server/share/x.txt"),
        ("C:\\Users\\me\\x.txt", "Users/me/x.txt"),
        ("C:/x.txt", "x.txt"),
        ("a/D:/x.txt", "a/x.txt"),
        ("C:x.txt", "C_x.txt"),
        ("\\\\?\\C:\\x.txt", "_/x.txt"),
        ("folder\\file.txt", "folder/file.txt"),
        ("~/x.txt", "x.txt"),
        # CWE-22
        ("../../etc/passwd", "etc/passwd"),
        ("a/../../b.txt", "a/b.txt"),
        ("..\\..\\b.txt", "b.txt"),
        ("a/.../b.txt", "a/b.txt"),
        ("a/. ./b.txt", "a/b.txt"),
        ("a/.. /b.txt", "a/b.txt"),
        (".\u200b./b.txt", "b.txt"),
        ("\u202e../b.txt", "b.txt"),
        ("..\0/b.txt", "b.txt"),
        # HFS+ ignores joiners (CVE-2014-9390).
        ("..\u200c/b.txt", "b.txt"),
        (".\u200d./b.txt", "b.txt"),
        ("a/..", "a/own.txt"),
        ("a/.", "a/own.txt"),
        ("..", "own.txt"),
        ("./x.txt", "x.txt"),
        ("a//b///c.txt", "a/b/c.txt"),
        ("a/ /b.txt", "a/b.txt"),
        # Windows, "Naming Files, Paths, and Namespaces".
        ("CON/nul.txt", "_CON/_nul.txt"),
        ("a/com1.d/x", "a/_com1.d/x"),
        ("trailing./dots. /x. ", "trailing/dots/x"),
        ('a<b/c:d|e/f"g?h*', "a_b/c_d_e/f_g_h_"),
        # UTR 36, 2.10.2: text direction.
        ("\u202egnp/\u2066photo\u2069.exe", "gnp/photo.exe"),
        ("line\nbreak/tab\t.txt", "linebreak/tab.txt"),
        # UAX 15: equal texts have equal bytes.
        ("e\u0301te\u0301/a\u0308.txt", "\xe9t\xe9/\xe4.txt"),
        ("שלום/空 文件/👩\u200d💻.txt", "שלום/空 文件/👩\u200d💻.txt"),
    ],
)
def test_a_path_is_made_safe(given_path: str, expected: str) -> None:
    assert safe_path(given_path, own_name="own.txt") == expected


def test_long_segments_are_shortened_and_keep_their_extensions() -> None:
    path = safe_path("ä" * 300 + "/" + "b" * 300 + ".pdf", own_name="x")
    folder, name = path.split("/")
    assert len(folder.encode()) <= MAX_BYTES
    assert len(name) == MAX_BYTES
    assert name.endswith("b.pdf")


def test_the_outer_folders_of_a_path_that_is_too_long_remain() -> None:
    path = safe_path("/".join(f"{i:0100}" for i in range(20)) + "/name.txt", own_name="x")
    segments = path.split("/")
    assert segments == [*(f"{i:0100}" for i in range(len(segments) - 1)), "name.txt"]
    assert len(segments) > 5
    assert len(path.encode()) <= MAX_PATH_BYTES


def test_a_shortened_name_is_not_a_device() -> None:
    assert safe_name("con" + " " * 300 + "x", fallback="f") == "_con"


parts = st.one_of(
    st.sampled_from(
        ["", ".", "..", "...", "/", "\\", "~", "C:", "con", "a", "A", " ", "\0", "\u200c", "\u200d",
         "\u202e", "\u200b", "é", "e\u0301", "x" * 250, "ﬀ", "\u2024", "．"]  # noqa: RUF001
    ),
    st.text(max_size=20),
)  # fmt: skip
hostile_paths = st.lists(parts, max_size=12).map("".join) | st.lists(parts, max_size=12).map(
    "/".join
)


def assert_harmless(path: str) -> None:
    assert len(path.encode()) <= MAX_PATH_BYTES
    for segment in path.split("/"):
        assert 0 < len(segment.encode()) <= MAX_BYTES
        assert not segment.endswith((".", " "))
        assert segment.strip(". \u200c\u200d")
        assert not set(segment) & set('\\<>:"|?*')
        assert not any(
            unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"}
            or 0x202A <= ord(c) <= 0x202E
            or 0x2066 <= ord(c) <= 0x2069
            for c in segment
        )


@given(hostile_paths)
@example("a\u200b\u0301/a\xad\u0301")
def test_any_path_becomes_a_harmless_one(path: str) -> None:
    safe = safe_path(path, own_name="own.txt")
    assert_harmless(safe)
    assert unicodedata.is_normalized("NFC", safe)


@given(hostile_paths)
@example("0\xa0.")
@example("~./")
@example("a\u200b\u0301")
def test_a_safe_path_stays_as_it_is(path: str) -> None:
    safe = safe_path(path, own_name="own.txt")
    assert safe_path(safe, own_name="other.txt") == safe


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


@given(st.lists(hostile_paths, max_size=15))
def test_paths_can_be_unpacked_side_by_side_on_every_system(paths: list[str]) -> None:
    safe = [safe_path(path, own_name="MANIFEST.json") for path in paths]
    unique = unique_names(safe, reserved=["MANIFEST.json"])
    files = {folded(path) for path in unique}
    assert len(files) == len(paths)
    folders = {folded(path[:index]) for path in unique for index, c in enumerate(path) if c == "/"}
    assert not files & folders
    assert "manifest.json" not in files | folders
    for path in unique:
        assert_harmless(path)


def test_equal_paths_are_numbered_in_their_folder() -> None:
    assert unique_names(["a/x.txt", "b/x.txt", "x.txt", "a/x.txt", "A/X.TXT", "b/y.txt"]) == [
        "a/x.txt",
        "b/x.txt",
        "x.txt",
        "a/x (2).txt",
        "A/X (3).TXT",
        "b/y.txt",
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a", "a/b"], ["a (2)", "a/b"]),
        (["a/b", "a"], ["a/b", "a (2)"]),
        (["x/y", "x/y/z"], ["x/y (2)", "x/y/z"]),
        (["x/y/z/w", "X/Y.txt", "x/Y"], ["x/y/z/w", "X/Y.txt", "x/Y (2)"]),
        (["a", "A/b", "a (2)/c"], ["a (3)", "A/b", "a (2)/c"]),
        # NFC: the folder and the file have the same name.
        (["\xe9/a", "E\u0301"], ["\xe9/a", "E\u0301 (2)"]),
    ],
)
def test_a_file_with_the_path_of_a_folder_is_numbered(
    paths: list[str], expected: list[str]
) -> None:
    assert unique_names(paths) == expected


def test_no_folder_has_the_name_of_the_manifest() -> None:
    assert unique_names(
        ["manifest.json/a", "_manifest.json", "x/MANIFEST.json"], reserved=["MANIFEST.json"]
    ) == ["_manifest.json/a", "_manifest (2).json", "x/MANIFEST.json"]
