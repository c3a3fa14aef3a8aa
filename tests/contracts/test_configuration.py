"""docs/configuration.md lists every setting as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from common.settings import SettingError, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: dataclasses.Field[object]) -> None:
    default = f"`{field.default}`" if field.default != "" else "empty"
    assert f"| `{field.name.upper()}` | {default} | {field.metadata['meaning']} |" in PAGE


def test_no_setting_is_documented_that_does_not_exist() -> None:
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [field.name.upper() for field in dataclasses.fields(Settings)]


def test_settings_are_read_from_the_environment() -> None:
    settings = Settings.from_env({"PORT": "9000", "DIRECT_SINGLE_FILE": "false", "REDIS_URL": ""})
    assert (settings.port, settings.direct_single_file) == (9000, False)
    assert settings.redis_url == Settings().redis_url


@pytest.mark.parametrize(
    ("name", "text"), [("PORT", "many"), ("LEASE_SECONDS", "x"), ("DIRECT_SINGLE_FILE", "maybe")]
)
def test_a_setting_that_does_not_parse_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env({name: text})
