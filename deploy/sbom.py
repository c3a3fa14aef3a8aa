"""Lists what a release contains as a CycloneDX 1.6 document, from the lock files.

The lock files pin every package by hash, so nothing has to be installed or guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Packages that the page imports; it bundles these and their dependencies.
BUNDLED = ("react", "react-dom")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def document(root: Path, version: str) -> dict[str, Any]:
    """Return the document of the source tree at ``root``."""
    components = [
        *_python(root / "requirements-runtime.lock"),
        *_npm(root / "web" / "package-lock.json"),
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "longhaul",
                "name": "longhaul",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": "longhaul", "dependsOn": [each["bom-ref"] for each in components]},
        ],
    }


def _python(lock: Path) -> Iterator[dict[str, Any]]:
    """Yield the packages of the image `longhaul/app`."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text()):
        if match := _PIN.match(entry):
            name, version = match.groups()
            purl = f"pkg:pypi/{name}@{version}"
            # One hash for each file of the package: a wheel of each platform, and the source.
            files = [
                {
                    "type": "distribution",
                    "url": purl,
                    "hashes": [{"alg": "SHA-256", "content": content}],
                }
                for content in _HASH.findall(entry)
            ]
            yield _component(purl, name, version, files)


def _npm(lock: Path) -> Iterator[dict[str, Any]]:
    """Yield what the build puts into the page."""
    packages = json.loads(lock.read_text())["packages"]
    pending = list(BUNDLED)
    seen: set[str] = set()
    while pending:
        name = pending.pop(0)
        if name not in seen:
            seen.add(name)
            package = packages[f"node_modules/{name}"]
            purl = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
            yield _component(purl, name, package["version"], [])
            pending += sorted(package.get("dependencies", {}))


def _component(purl: str, name: str, version: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if files:
        component["externalReferences"] = files
    return component
