"""The dependencies that both pyproject.toml files declare are those that the code imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from stack.components import ROOT

OWN = {"api", "bench", "common", "deploy", "longhaul_client", "stack", "tests", "worker"}
#: Packages that only type checkers or another environment (bench/load.lock) import.
EXEMPT = {"_typeshed", "types_boto3_s3", "locust", "requests"}
#: The extras of the server's pyproject.toml that are installed where each package runs.
EXTRAS = {
    "api": ("history", "tracing", "sentry"),
    "common": ("history", "tracing", "sentry"),
    "worker": ("history", "tracing", "sentry"),
    "stack": ("stack",),
    "bench": ("history", "tracing", "sentry", "stack", "dev"),
    "tests": ("history", "tracing", "sentry", "stack", "deploy", "dev"),
}
DISTRIBUTIONS = packages_distributions()


def _project(path: str) -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((ROOT / path).read_text())["project"]
    return project


def _names(requirements: object) -> set[str]:
    assert isinstance(requirements, list)
    return {_normalized(re.split(r"[\[<>=]", line)[0]) for line in requirements}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(package: str) -> set[str]:
    client = _names(_project("client/pyproject.toml")["dependencies"])
    if package == "client":
        return client
    server = _project("pyproject.toml")
    extras = server["optional-dependencies"]
    assert isinstance(extras, dict)
    declared = _names(server["dependencies"])
    for extra in EXTRAS[package]:
        declared |= _names(extras[extra])
    return declared if package in ("api", "common", "worker") else declared | client


def _imported(package: str) -> Iterator[tuple[str, Path]]:
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            for module in modules:
                yield module.partition(".")[0], path.relative_to(ROOT)


@pytest.mark.parametrize("package", [*EXTRAS, "client"])
def test_every_imported_package_is_a_declared_dependency(package: str) -> None:
    declared = _declared(package)
    undeclared = {
        (module, str(path))
        for module, path in _imported(package)
        if module not in sys.stdlib_module_names | OWN | EXEMPT
        and not declared & {*map(_normalized, DISTRIBUTIONS.get(module, ()))}
    }
    assert undeclared == set()
