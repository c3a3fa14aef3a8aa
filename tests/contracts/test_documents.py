"""The documents refer only to files, headings, `make` targets and settings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from common.settings import Settings
from tests.contracts.deployment import BIN, ROOT, run

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "client").glob("*.md")]
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

#: The changelog names what existed in earlier versions.
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
CURRENT_NAMES = [str(path.relative_to(ROOT)) for path in CURRENT]

_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: A path has a slash or a known suffix; placeholders, URLs and commands are not paths.
_PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|lua|md|yaml|yml|toml|conf|lock|tf|ts)")
#: As in "`Backoff` in `worker/attempt/runner.py`" or "`Artifact` (`common/jobs/model.py`)".
_LOCATED = re.compile(r"`([A-Za-z_][\w.]*)` (?:in `([\w./-]+)`|\(`([\w./-]+)`\))")
_TARGET = re.compile(r"\bmake ([a-z][a-z0-9-]*)\b")
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")

#: Where short paths in documents start, besides the repository's root.
BASES = ("", "common/job_store", "worker/archive", "nginx", "common/object_storage")


@cache
def tracked_files() -> frozenset[str]:
    output = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    return frozenset(output.splitlines())


@cache
def tracked_paths() -> frozenset[str]:
    """Return all files and folders of the repository."""
    folders = {str(folder) for file in tracked_files() for folder in Path(file).parents}
    return tracked_files() | folders


def links(path: Path) -> Iterator[str]:
    for markdown, html in _LINK.findall(_FENCE.sub("", path.read_text())):
        yield markdown or html


def code_spans(path: Path) -> list[str]:
    return _CODE.findall(_FENCE.sub("", path.read_text()))


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub creates for the headings of a document."""
    headings = _HEADING.findall(_FENCE.sub("", path.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for link in links(path):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), f"{link} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def _exists(name: str) -> bool:
    return any(str(Path(base, name)) in tracked_paths() for base in BASES)


@pytest.mark.parametrize("path", CURRENT, ids=CURRENT_NAMES)
def test_every_file_path_in_a_document_exists(path: Path) -> None:
    top = {Path(file).parts[0] for file in tracked_files()}
    for span in code_spans(path):
        name = span.rstrip("/")
        if not _PATH.fullmatch(span) or span.startswith((".", "archives/", "indexes/")):
            continue
        # A span like `text/event-stream` is a path only if its first part is one of ours.
        if "/" in span and Path(name).parts[0] not in top | {"lua"}:
            continue
        local = str((path.parent / name).resolve().relative_to(ROOT))
        exists = _exists(name) or local in tracked_paths() or _is_file_name(name)
        assert exists, f"{span} does not exist"


@pytest.mark.parametrize("path", CURRENT, ids=CURRENT_NAMES)
def test_every_name_that_a_document_locates_is_in_its_file(path: Path) -> None:
    for name, *files in _LOCATED.findall(_FENCE.sub("", path.read_text())):
        file = "".join(files)
        if _SETTING.fullmatch(name):  # As in "set `STORAGE_URL` in …".
            continue
        found = [ROOT / base / file for base in BASES if (ROOT / base / file).is_file()]
        for source in found:
            words = set(re.findall(r"\w+", source.read_text()))
            assert set(name.split(".")) <= words, f"{file} contains no {name}"


def _is_file_name(name: str) -> bool:
    """Return whether a bare file name, as in "see `network-policy.yaml`", is unambiguous enough."""
    return "/" not in name and any(Path(file).name == name for file in tracked_files())


def test_every_document_named_in_code_exists() -> None:
    suffixes = {".py", ".lua", ".conf", ".yml", ".yaml", ".tf", ".ts", ".tsx", ".sh", ".toml"}
    for file in sorted(tracked_files()):
        path = ROOT / file
        if path.suffix in suffixes and path.is_file():
            for name in re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text()):
                assert name in tracked_files(), f"{file}: {name} does not exist"


def test_every_make_target_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        code = " ".join([*code_spans(path), *_FENCE.findall(path.read_text())])
        for target in _TARGET.findall(code):
            assert target in targets, f"{path.name}: make {target} does not exist"


def _variables_of_other_programs() -> set[str]:
    """Return the environment variables that scripts, clients, nginx and compose read."""
    files = [
        "nginx/entrypoint.sh",
        "compose.yaml",
        "Makefile",
        ".env.example",
        "deploy/k8s/base/worker.yaml",
    ]
    folders = ("stack", "client", "bench", "tests/faults")
    sources = [ROOT / file for file in files]
    for folder in folders:
        sources += (ROOT / folder).rglob("*.py")
    text = "\n".join(source.read_text() for source in sources)
    return set(_SETTING.findall(text))


@pytest.mark.parametrize("path", CURRENT, ids=CURRENT_NAMES)
def test_every_setting_in_a_document_exists(path: Path) -> None:
    fields = Settings.__dataclass_fields__.values()
    settings = {field.name.upper() for field in fields}
    settings |= {field.metadata["former_name"] for field in fields}
    others = _variables_of_other_programs() | _error_codes() | set(NOT_SETTINGS)
    for span in code_spans(path):
        name = re.match(r"([A-Z0-9_]+)(?:=|$)", span)
        if name and _SETTING.fullmatch(name[1]):
            assert name[1] in settings | others, f"{name[1]} does not exist"


#: Words in capitals that are neither a setting nor an error code.
NOT_SETTINGS = (
    *("ADMIN_PATHS", "TCP_USER_TIMEOUT"),
    # Variables of all AWS tools, which botocore reads, and one of the tests.
    *("AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_USE_FIPS_ENDPOINT"),
    *("AWS_USE_DUALSTACK_ENDPOINT", "AWS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    *("S3_SERVERS", "FULL_OBJECT"),
)


@cache
def _error_codes() -> frozenset[str]:
    """Return the codes of errors, and those of the reasons in the operators' overview."""
    files = ("common/errors.py", "api/errors.py", "api/admin/service_summary.py")
    text = "\n".join((ROOT / file).read_text() for file in files)
    return frozenset(re.findall(r'code ?= ?"([A-Z_]+)"', text))


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    documents = set((ROOT / "docs").rglob("*.md")) - {index}
    assert documents <= linked


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_every_decision_has_a_number_a_date_a_status_and_its_sections(path: Path) -> None:
    text = path.read_text()
    number = DECISIONS.index(path) + 1
    assert text.startswith(f"# {number:04d}: ")
    assert re.fullmatch(rf"{number:04d}(-[a-z0-9]+)+", path.stem)
    assert re.search(r"^- Date: \d{4}-\d\d-\d\d", text, re.MULTILINE)
    assert re.search(r"^- Status: (accepted|superseded)", text, re.MULTILINE)
    for section in ("Context", "Decision", "Consequences"):
        assert f"\n## {section}\n" in text


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [("github-issue-forms", "[a-z]*_*.yml"), ("github-issue-config", "config.yml")],
)
def test_issue_templates_match_their_schemas(schema: str, pattern: str) -> None:
    files = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob(pattern))
    assert files
    run(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
