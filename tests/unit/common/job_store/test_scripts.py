"""The Lua scripts as they are sent to the server."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from common.job_store import keys
from common.job_store.keys import PATTERNS
from common.job_store.scripts import Scripts, source

if TYPE_CHECKING:
    from redis import Redis

VERBS = sorted(
    path.name.removesuffix(".lua")
    for path in (files("common.job_store") / "lua").iterdir()
    if path.name.endswith(".lua")
)
ARCHIVE_HELD = {"reference": "job:1", "keep": 60_000}


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_of_a_script_has_a_pattern(verb: str) -> None:
    # An unknown key, or too few values for one, raises an error.
    text = source(verb, None)
    assert "key." not in "\n".join(line.partition("--")[0] for line in text.splitlines())


def test_the_tag_is_filled_in_at_its_place_and_the_values_in_order() -> None:
    assert PATTERNS["delivery"] == "{kind}:delivery:{tag}:{id}:{version}"
    expression = "(kind .. ':delivery:' .. tag .. ':' .. args.id .. ':' .. args.version)"
    assert expression in source("delivery_schedule", None)


def references(number: int) -> str:
    return keys.archive_references(f"archives/{{p{number:02}}}.zip")


def test_scripts_that_the_server_does_not_have_are_loaded(redis: Redis) -> None:
    scripts = Scripts(redis)
    calls = [(references(number), ARCHIVE_HELD) for number in range(3)]
    for _ in range(2):
        redis.script_flush()
        assert scripts.run_many("archive_hold", calls) == [["HELD"]] * 3


def test_the_error_of_one_partition_is_its_result(redis: Redis) -> None:
    scripts = Scripts(redis)
    redis.set(references(1), "no sorted set")
    calls = [(references(number), ARCHIVE_HELD) for number in range(3)]
    first, second, third = scripts.run_many("archive_hold", calls, raise_on_error=False)
    assert first == third == ["HELD"]
    assert isinstance(second, ResponseError)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        scripts.run_many("archive_hold", calls)
