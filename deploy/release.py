"""Makes a release from a clean checkout: ``make release``.

Tags the commit ``v`` and the version, and writes to ``dist/VERSION``: the Python client as a wheel
and as source, the packages for npm, the source of the server, the SBOM, the images' digests, and
the checksums of all these files. Everything is built from the commit, not from the working tree.
Nothing is uploaded, except images if REGISTRY is set.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from common.version import VERSION
from deploy import sbom

ROOT = Path(__file__).parents[1]


class NotReleasable(SystemExit):
    """Something has to be done first; the message says what."""


def versions(root: Path) -> dict[str, str]:
    """Return the version that each file states, by the file."""
    found = {"client/pyproject.toml": _client_version(root)}
    for path in ("web/client/package.json", "web/react/package.json"):
        found[path] = json.loads((root / path).read_text())["version"]
    kustomization = (root / "deploy/k8s/base/kustomization.yaml").read_text()
    for number, tag in enumerate(re.findall(r"newTag: (\S+)", kustomization)):
        found[f"deploy/k8s/base/kustomization.yaml, image {number + 1}"] = tag
    return found


def check(root: Path, version: str) -> None:
    """Raise ``NotReleasable`` unless the tree is clean and all files agree on the version."""
    if changes := _run("git", "status", "--porcelain", cwd=root):
        raise NotReleasable(f"Commit these changes first:\n{changes}")
    if wrong := {path: found for path, found in versions(root).items() if found != version}:
        raise NotReleasable(f"The version is {version} in common/version.py, but: {wrong}")
    heading = rf"^## \[{re.escape(version)}\]"
    if not re.search(heading, (root / "CHANGELOG.md").read_text(), re.MULTILINE):
        raise NotReleasable(f"CHANGELOG.md has no section for {version}: rename [Unreleased]")


def tag(root: Path, version: str) -> None:
    """Tag the current commit. Raise ``NotReleasable`` if another one has the tag."""
    name = f"v{version}"
    if _run("git", "tag", "--list", name, cwd=root):
        commits = {
            _run("git", "rev-parse", f"{ref}^{{commit}}", cwd=root) for ref in (name, "HEAD")
        }
        if len(commits) > 1:
            raise NotReleasable(f"The tag {name} exists on another commit: increase the version")
        return
    _run("git", "tag", "--annotate", name, "--message", f"Longhaul {version}", cwd=root)


def build(root: Path, version: str, target: Path, *, npm: bool, engine: str) -> None:
    """Write all files of the release to ``target``, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    source = target / f"longhaul-{version}.tar.gz"
    _run("git", "archive", "--prefix", f"longhaul-{version}/", "--output", source, "HEAD", cwd=root)
    with tempfile.TemporaryDirectory() as directory:
        # Python 3.11.2, as in Debian 12, extracts tar files without the filter that makes it safe.
        _run("tar", "--extract", "--file", source, "--directory", directory)
        tree = Path(directory) / f"longhaul-{version}"
        _build_client(tree, target)
        if npm:
            _build_npm(tree, target)
        (target / "sbom.cdx.json").write_text(json.dumps(sbom.document(tree, version), indent=2))
        if engine:
            _build_images(tree, version, target, engine)
    _write_checksums(target)


def _build_client(tree: Path, target: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet")
    offline = ("--no-deps", "--no-build-isolation")
    _run(*pip, "wheel", *offline, "--wheel-dir", target, tree / "client")
    program = "import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])"
    _run(sys.executable, "-c", program, target, cwd=tree / "client")


def _build_npm(tree: Path, target: Path) -> None:
    node = tree / "web" / "node.sh"
    for command in (
        ("npm", "ci", "--loglevel", "error"),
        ("npm", "run", "--silent", "build"),
        ("npm", "pack", "--silent", "--workspace", "client", "--workspace", "react",
         "--pack-destination", target),
        ("npm", "run", "--silent", "pack", "--", target),
    ):  # fmt: skip
        _run(node, *command, cwd=tree, PYTHON=sys.executable)


def _build_images(tree: Path, version: str, target: Path, engine: str) -> None:
    registry = os.environ.get("REGISTRY", "")
    prefix = f"{registry}/" if registry else ""
    lines = []
    for name in ("app", "nginx"):
        image, id_file = f"{prefix}longhaul/{name}:{version}", tree / f"{name}.id"
        arguments = ("--target", name, "--tag", image, "--iidfile", id_file)
        base = ("--build-arg", f"REGISTRY={registry}") if registry else ()
        _run(engine, "build", "--quiet", *arguments, *base, ".", cwd=tree)
        digest = id_file.read_text().strip()
        if registry:
            _run(engine, "push", "--quiet", image)
            pushed = _run(engine, "inspect", "--format", "{{index .RepoDigests 0}}", image)
            digest = pushed.rpartition("@")[2]
        lines.append(f"{image}@{digest}\n")
    (target / "images.txt").write_text("".join(lines))


def _write_checksums(target: Path) -> None:
    """Write the checksums in the format of ``sha256sum --check``."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(target.iterdir())
    ]
    (target / "SHA256SUMS").write_text("".join(lines))


def _client_version(root: Path) -> str:
    project = tomllib.loads((root / "client/pyproject.toml").read_text())["project"]
    return str(project["version"])


def _run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        # Its standard error was shown already.
        failed = f"{' '.join(map(str, command))} failed with code {done.returncode}"
        raise NotReleasable(f"{done.stdout}\n{failed}".strip())
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--no-npm", action="store_true", help="leave out the packages for npm")
    parser.add_argument(
        "--engine",
        default=next((name for name in ("podman", "docker") if shutil.which(name)), ""),
        help="what builds the images; an empty string leaves them out",
    )
    arguments = parser.parse_args()
    check(arguments.root, VERSION)
    target = arguments.root / "dist" / VERSION
    build(arguments.root, VERSION, target, npm=not arguments.no_npm, engine=arguments.engine)
    # Last, so that nothing is tagged that cannot be built.
    tag(arguments.root, VERSION)
    print(f"Tagged v{VERSION}. Files: {target}")


if __name__ == "__main__":
    main()
