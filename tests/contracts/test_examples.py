"""The examples of docs/clients.md in Swift, Kotlin and Go parse, and use what the API documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.schemas.job import AcceptedSchema
from api.schemas.requests import InitiateSchema, StatusQuery
from tests.contracts.deployment import ROOT

LANGUAGES = ("swift", "kotlin", "go")


def example(language: str) -> str:
    document = (ROOT / "docs" / "clients.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", document, re.DOTALL)
    assert found, f"docs/clients.md has no example in {language}"
    return found[1]


def first_error(node: Any) -> str | None:
    """Return where the first syntax error is."""
    if node.type == "ERROR" or node.is_missing:
        line = node.start_point[0] + 1
        return f"line {line}: {node.text.decode()[:60]}"
    return next(filter(None, map(first_error, node.children)), None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_example_has_no_syntax_error(language: str) -> None:
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip(f"tree_sitter_{language}")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert first_error(parser.parse(example(language).encode()).root_node) is None
    broken = example(language).replace(")", "", 1)
    assert first_error(parser.parse(broken.encode()).root_node) is not None


def test_examples_use_documented_paths_parameters_and_members() -> None:
    parameters = {field.data_key or name for name, field in StatusQuery().fields.items()}
    members = set(AcceptedSchema().fields) | set(InitiateSchema().fields)
    for language in LANGUAGES:
        code = example(language)
        paths = set(re.findall(r"v1/download/[a-z]*", code))
        assert {"v1/download/initiate", "v1/download/status"} <= paths, language
        assert paths <= {"v1/download/initiate", "v1/download/status", "v1/download/"}, language
        (selected,) = re.findall(r'fields=([\w,]+)|"fields", value: "([\w,]+)"', code)
        assert set("".join(selected).split(",")) <= members, language
        for name in ("wait", "minProgress", "until", "fields"):
            assert name in parameters
            assert name in code, language
        used = set(
            re.findall(r'`json:"(\w+)"`|get\w+\("(\w+)"\)|let (\w+): (?:String|Int|URL)', code)
        )
        names = {name for group in used for name in group if name}
        assert len(names) >= 4, language
        # Swift's Problem and client have members of their own.
        assert names <= members | {"code", "detail", "url"}, language
