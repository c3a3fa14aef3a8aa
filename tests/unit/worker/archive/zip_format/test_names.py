"""Names inside archives: hostile ones, long ones, equal ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.archive.zip_format.names import MAX_BYTES, safe_name, unique_names


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("..", "fallback"),
        ("...", "fallback"),
        ("", "fallback"),
        ("folder/", "fallback"),
        ("nul\0byte.txt", "nulbyte.txt"),
        ("line\nbreak\r.txt", "linebreak.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2066photo\u2069.jpg", "photo.jpg"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("COM1.log", "_COM1.log"),
        ("lpt¹.log", "_lpt¹.log"),
        ("console.txt", "console.txt"),
        ("COM1 .txt", "_COM1 .txt"),
        ("com¹", "_com¹"),
        ("nul  ", "_nul"),
        ("CONIN$", "_CONIN$"),
        ("conout$.log", "_conout$.log"),
        ("COM10.txt", "COM10.txt"),
        ("conin.txt", "conin.txt"),
        ("Q1/Q2 report.csv", "Q1_Q2 report.csv"),
        ("either\\or.txt", "either_or.txt"),
        ("2026/11/28.log", "2026_11_28.log"),
        ("a/../b.txt", "b.txt"),
        ("~/x.txt", "x.txt"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("trailing. . ", "trailing"),
        (" leading", "leading"),
        (".hidden", ".hidden"),
        ("e\u0301tude.txt", "étude.txt"),
        ("שלום.txt", "שלום.txt"),
        ("👩\u200d💻.txt", "👩\u200d💻.txt"),
    ],
)
def test_a_name_is_made_safe(given_name: str, expected: str) -> None:
    assert safe_name(given_name, fallback="fallback") == expected


def test_a_long_name_keeps_its_extension_and_whole_characters() -> None:
    name = safe_name("ä" * 300 + ".tar.gz", fallback="x")
    assert len(name.encode()) <= MAX_BYTES
    assert name.endswith("ä.gz")


@given(st.text(max_size=400))
def test_any_name_becomes_a_harmless_one(name: str) -> None:
    safe = safe_name(name, fallback="fallback")
    assert 0 < len(safe.encode()) <= MAX_BYTES
    assert "/" not in safe
    assert "\\" not in safe
    assert "\0" not in safe
    assert safe.strip(".") != ""
    assert not safe.endswith((".", " "))


def test_equal_names_are_numbered_before_the_extension_and_regardless_of_case() -> None:
    assert unique_names(["a.txt", "A.TXT", "a.txt", "a (2).txt", "b"]) == [
        "a.txt",
        "A (2).TXT",
        "a (3).txt",
        "a (2) (2).txt",
        "b",
    ]


def test_a_taken_name_is_never_given_out() -> None:
    assert unique_names(["manifest.json"], reserved=["MANIFEST.json"]) == ["manifest (2).json"]


@given(st.lists(st.sampled_from(["a", "A", "a (2)", "ß.txt", "SS.txt", "x" * 300]), max_size=30))
def test_names_are_unique_whatever_they_were(names: list[str]) -> None:
    safe = [safe_name(name, fallback="f") for name in names]
    unique = unique_names(safe)
    assert len({name.casefold() for name in unique}) == len(names)
    assert all(len(name.encode()) <= MAX_BYTES for name in unique)


def test_a_thousand_equal_names_take_no_time() -> None:
    assert len(set(unique_names(["same.txt"] * 20_000))) == 20_000


def test_long_names_that_become_equal_take_no_time() -> None:
    """They differ only in what is truncated to make room for the number."""
    names = [f"{'a' * 251}{number:04}" for number in range(9_000)]
    unique = unique_names(names * 2)
    assert len(set(unique)) == 18_000
    assert all(len(name) <= MAX_BYTES for name in unique)
