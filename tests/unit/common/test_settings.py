"""Settings: former names still work, and values that cannot work are rejected."""

from __future__ import annotations

import dataclasses

import pytest

from common.settings import SettingError, Settings, allowed_values

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


NUMBERS = [field for field in dataclasses.fields(Settings) if type(field.default) in (int, float)]
#: They limit each other.
WITHOUT_RANGE = {"file_id_min", "file_id_max"}


def test_every_number_has_a_minimum_that_its_default_keeps() -> None:
    assert {field.name for field in NUMBERS if field.metadata["minimum"] is None} == WITHOUT_RANGE
    assert Settings.from_env({field.name.upper(): str(field.default) for field in NUMBERS})


@pytest.mark.parametrize(
    "field",
    [field for field in NUMBERS if field.name not in WITHOUT_RANGE],
    ids=lambda field: field.name,
)
def test_a_number_outside_its_range_is_rejected_with_the_range(
    field: dataclasses.Field[float],
) -> None:
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    outside = [low - 1] if high is None else [low - 1, high + 1]
    for value in outside:
        with pytest.raises(SettingError) as raised:
            Settings.from_env({field.name.upper(): str(value)})
        assert str(raised.value).startswith(f"{field.name.upper()}='{value}' is not valid")
        assert str(raised.value).endswith(allowed_values(field.metadata))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "name", [field.name.upper() for field in NUMBERS if isinstance(field.default, float)]
)
def test_no_setting_is_infinite_or_not_a_number(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"{name}='{text}' is not valid: it must be a number"):
        Settings.from_env({name: text})


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"HISTORY_TTL": "-1"}, "HISTORY_TTL"),
        ({"JOB_TTL": "0"}, "JOB_TTL"),
        ({"LOG_LEVEL": "info"}, "LOG_LEVEL='info'.*DEBUG, INFO, WARNING, ERROR or CRITICAL"),
        ({"HEARTBEAT_INTERVAL": "31"}, "HEARTBEAT_INTERVAL"),
        ({"REQUEST_TIMEOUT": "90"}, "REQUEST_TIMEOUT"),
        ({"LEASE_SECONDS": "1"}, "LEASE_SECONDS must be more than twice WORKER_HEARTBEAT"),
        ({"WORKER_HEARTBEAT": "5"}, "LEASE_SECONDS must be more than twice WORKER_HEARTBEAT"),
        ({"FILE_ID_MIN": "9", "FILE_ID_MAX": "8"}, "FILE_ID_MIN"),
        ({"LINK_TTL": "604801", "ARCHIVE_TTL": "700000"}, "LINK_TTL must be at most 604800"),
        (
            {"LINK_TTL": "604801", "ARCHIVE_TTL": "700000", "LINK_SIGNER": "cloudfront"},
            "DIRECT_SINGLE_FILE=false",
        ),
    ],
)
def test_settings_that_cannot_work_are_rejected_at_start(
    environ: dict[str, str], name: str
) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"HISTORY_TTL": "0"},
        {"LEASE_SECONDS": "0.5", "WORKER_HEARTBEAT": "0.1"},
        {"ARCHIVE_TTL": "2592000", "JOB_TTL": "2592000"},
        {"LINK_TTL": "2592000"},
        {"LINK_TTL": "2592000", "ARCHIVE_TTL": "2592000", "DELIVERY": "proxy"},
        {
            "LINK_TTL": "2592000",
            "ARCHIVE_TTL": "2592000",
            "LINK_SIGNER": "cloudfront",
            "DIRECT_SINGLE_FILE": "false",
        },
    ],
)
def test_unusual_settings_that_work_are_accepted(environ: dict[str, str]) -> None:
    Settings.from_env(environ)
