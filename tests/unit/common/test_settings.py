"""Settings that were renamed: their former names still work."""

from __future__ import annotations

import dataclasses

import pytest

from common.settings import SettingError, Settings

FORMER_NAMES = {
    field.name: field.metadata["former_name"]
    for field in dataclasses.fields(Settings)
    if field.metadata["former_name"]
}


def test_renamed_settings_are_known_by_these_former_names() -> None:
    assert FORMER_NAMES == {
        "ticket_secret": "LINK_SECRET",
        "priority_boost_after": "LANE_MAX_WAIT",
    }


@pytest.mark.parametrize(("name", "former"), FORMER_NAMES.items())
def test_a_former_name_is_read_when_the_new_one_is_absent_or_empty(name: str, former: str) -> None:
    for environ in ({former: "45"}, {former: "45", name.upper(): ""}):
        assert str(getattr(Settings.from_env(environ), name)).startswith("45")


@pytest.mark.parametrize(("name", "former"), FORMER_NAMES.items())
def test_the_new_name_wins_over_the_former_one(name: str, former: str) -> None:
    settings = Settings.from_env({former: "45", name.upper(): "67"})
    assert str(getattr(settings, name)).startswith("67")


def test_no_former_name_is_the_name_of_another_setting() -> None:
    names = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert not names & set(FORMER_NAMES.values())


def test_the_error_for_a_former_name_names_the_variable_that_is_set() -> None:
    with pytest.raises(SettingError, match="LANE_MAX_WAIT='soon'"):
        Settings.from_env({"LANE_MAX_WAIT": "soon"})


def test_from_env_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    assert Settings.from_env().port == 9000


def test_a_secret_given_under_its_former_name_is_still_redacted() -> None:
    assert Settings.from_env({"LINK_SECRET": "hunter2-hunter2"}).secrets() == {"hunter2-hunter2"}
