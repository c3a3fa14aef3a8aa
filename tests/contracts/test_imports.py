"""Import rules that import-linter's contracts in pyproject.toml cannot express."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "common")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        *PACKAGES,
        include_external_packages=True,
        exclude_type_checking_imports=False,
        cache_dir=None,
    )


def test_no_module_imports_itself_through_others_not_even_for_type_checking(
    graph: grimp.ImportGraph,
) -> None:
    own = {module for module in graph.modules if module.split(".")[0] in PACKAGES}
    imports = {module: graph.find_modules_directly_imported_by(module) & own for module in own}
    # Modules that import nothing that is left are not part of a cycle: remove them repeatedly.
    while independent := {module for module, imported in imports.items() if not imported}:
        imports = {
            module: imported - independent
            for module, imported in imports.items()
            if module not in independent
        }
    assert not imports, f"these modules import each other, or a cycle: {sorted(imports)}"


@pytest.mark.parametrize("module", ["time", "os", "socket", "redis", "boto3", "urllib3", "flask"])
def test_the_contract_of_pure_packages_sees_external_modules(
    graph: grimp.ImportGraph, module: str
) -> None:
    assert graph.find_modules_that_directly_import(module)


def reads_environment(code: str) -> bool:
    """Return whether code reads environment variables. It may set them for a child process."""
    tree = ast.parse(code)
    writes = [
        node.value
        for node in ast.walk(tree)
        if (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Attribute) and node.attr == "setdefault")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            if any(alias.name in ("environ", "getenv") for alias in node.names):
                return True
        elif ast.unparse(node) in ("os.environ", "os.getenv") and node not in writes:
            return True
    return False


def test_only_settings_reads_the_environment() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    readers = {str(path.relative_to(ROOT)) for path in paths if reads_environment(path.read_text())}
    assert readers == {"common/settings.py"}


@pytest.mark.parametrize(
    "code",
    [
        "os.getenv('X')",
        "os.environ['X']",
        "os.environ.get('X')",
        "f(os.environ)",
        "from os import environ",
    ],
)
def test_reading_the_environment_is_detected(code: str) -> None:
    assert reads_environment(code)


def test_writing_the_environment_is_allowed() -> None:
    code = "os.environ['X'] = '1'\nos.environ.setdefault('Y', '2')"
    assert not reads_environment(code)
