"""`make release`: one version everywhere, an SBOM of the lock files, and verifiable files."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from common.version import VERSION
from deploy import release, sbom
from stack.components import ROOT


def git(root: Path, *command: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", *identity, *command], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clean checkout of the files that git knows, with a section for this version."""
    root = tmp_path / "clone"
    root.mkdir()
    files = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name, follow_symlinks=False)
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text().replace("## [Unreleased]", f"## [{VERSION}]", 1)
    changelog.write_text(text)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "tests: a release")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    return root


def test_all_files_state_the_same_version() -> None:
    assert set(release.versions(ROOT).values()) == {VERSION}
    text = (ROOT / "client" / "longhaul_client" / "__init__.py").read_text()
    assert not re.search(r"__version__ = ['\"]\d", text)


def test_a_release_needs_a_clean_tree_and_a_section_in_the_changelog(clone: Path) -> None:
    release.check(clone, VERSION)
    with pytest.raises(release.NotReleasable, match=r"client/pyproject\.toml"):
        release.check(clone, "9.9.9")
    (clone / "new.txt").write_text("new")
    with pytest.raises(release.NotReleasable, match=r"new\.txt"):
        release.check(clone, VERSION)
    (clone / "new.txt").unlink()
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace(f"[{VERSION}]", "[Unreleased]"))
    git(clone, "commit", "--all", "--quiet", "--message", "tests: no section")
    with pytest.raises(release.NotReleasable, match="CHANGELOG"):
        release.check(clone, VERSION)


def test_a_tag_is_created_once_and_never_moved(clone: Path) -> None:
    release.tag(clone, VERSION)
    release.tag(clone, VERSION)
    assert git(clone, "rev-parse", f"v{VERSION}^{{commit}}") == git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "--allow-empty", "--quiet", "--message", "tests: another commit")
    with pytest.raises(release.NotReleasable, match="increase the version"):
        release.tag(clone, VERSION)


def test_the_files_of_a_release_match_their_checksums(clone: Path, tmp_path: Path) -> None:
    target = tmp_path / "dist"
    engine = tmp_path / "engine"
    engine.write_text(
        "#!/bin/sh\n"
        'while [ $# -gt 0 ]; do [ "$1" = --iidfile ] && echo sha256:0123 >"$2"; shift; done\n'
    )
    engine.chmod(0o755)
    release.build(clone, VERSION, target, npm=False, engine=str(engine))
    lines = [line.split("  ") for line in (target / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums.keys() == {path.name for path in target.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
    wheel = target / f"longhaul_client-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as files:
        assert "longhaul_client/py.typed" in files.namelist()
    assert {f"longhaul_client-{VERSION}.tar.gz", f"longhaul-{VERSION}.tar.gz"} <= sums.keys()
    images = (target / "images.txt").read_text().splitlines()
    assert images == [f"longhaul/{name}:{VERSION}@sha256:0123" for name in ("app", "nginx")]
    # Built from the commit, so the checkout is as it was.
    assert git(clone, "status", "--porcelain") == ""


def test_the_sbom_knows_every_package_that_the_page_imports() -> None:
    sources = [
        path.read_text()
        for part in ("app", "client", "react")
        for path in (ROOT / "web" / part / "src").rglob("*.ts*")
    ]
    imported = {
        name.split("/")[0]
        for text in sources
        for name in re.findall(r"""(?:from|import) ["']([^"'.@][^"']*)["']""", text)
    }
    assert imported == set(sbom.BUNDLED)


def test_the_sbom_lists_what_the_image_and_the_page_contain() -> None:
    found = json.loads(json.dumps(sbom.document(ROOT, VERSION)))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    components = {each["purl"]: each for each in found["components"]}
    assert len(components) == len(found["components"])
    pins = re.findall(
        r"^([a-z0-9._-]+)==([^ ;\\]+)",
        (ROOT / "requirements-runtime.lock").read_text(),
        re.MULTILINE,
    )
    assert len(pins) > 40
    for name, version in pins:
        files = components[f"pkg:pypi/{name}@{version}"]["externalReferences"]
        assert files
        assert all(len(file["hashes"][0]["content"]) == 64 for file in files)
    pages = {purl for purl in components if purl.startswith("pkg:npm/")}
    assert any(purl.startswith("pkg:npm/react@") for purl in pages)
    assert any(purl.startswith("pkg:npm/react-dom@") for purl in pages)
    assert not any("vite" in purl or "typescript" in purl for purl in pages)
    (dependencies,) = found["dependencies"]
    assert set(dependencies["dependsOn"]) == components.keys()
