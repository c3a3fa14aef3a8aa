"""docs/configuration.md lists every setting with its default, and invalid settings are reported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from common.settings import SettingError, Settings, allowed_values

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default_and_its_range(
    field: dataclasses.Field[object],
) -> None:
    default = f"`{field.default}`" if field.default != "" else "empty"
    allowed = allowed_values(field.metadata)
    between = f"| {allowed} |" if allowed else "| |"
    row = f"| `{field.name.upper()}` | {default} {between} {field.metadata['meaning']} |"
    assert row in PAGE


def test_every_documented_setting_exists_in_the_same_order() -> None:
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [field.name.upper() for field in dataclasses.fields(Settings)]


def test_from_env_parses_variables_and_ignores_empty_ones() -> None:
    settings = Settings.from_env({"PORT": "9000", "DIRECT_SINGLE_FILE": "false", "REDIS_URL": ""})
    assert (settings.port, settings.direct_single_file) == (9000, False)
    assert settings.redis_url == Settings().redis_url


@pytest.mark.parametrize(
    ("name", "text"), [("PORT", "many"), ("LEASE_SECONDS", "x"), ("DIRECT_SINGLE_FILE", "maybe")]
)
def test_from_env_names_the_variable_that_it_cannot_parse(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env({name: text})
