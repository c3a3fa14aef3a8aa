"""The Lua scripts as they are sent to the server."""

from __future__ import annotations

from importlib.resources import files

import pytest

from common.job_store.keys import PATTERNS
from common.job_store.scripts import source

VERBS = sorted(
    path.name.removesuffix(".lua")
    for path in (files("common.job_store") / "lua").iterdir()
    if path.name.endswith(".lua")
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_of_a_script_has_a_pattern(verb: str) -> None:
    # An unknown key, or too few values for one, raises an error.
    text = source(verb, None)
    assert "key." not in "\n".join(line.partition("--")[0] for line in text.splitlines())


def test_the_tag_is_filled_in_at_its_place_and_the_values_in_order() -> None:
    assert PATTERNS["delivery"] == "{kind}:delivery:{tag}:{id}:{version}"
    expression = "(kind .. ':delivery:' .. tag .. ':' .. args.id .. ':' .. args.version)"
    assert expression in source("delivery_schedule", None)
