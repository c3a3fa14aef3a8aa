"""The plan of one archive: its members, its layout, its keys, and the id that they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from common.sources.files import Missing
from worker.archive.planning.layout import Item, PartSizes
from worker.archive.planning.manifest import render_manifest
from worker.archive.planning.members import MANIFEST_NAME, Member
from worker.archive.planning.plan import Plan, make_plan
from worker.archive.zip_format import records

#: The keys of composed archives start with this and the plan's id.
PREFIX = "archives/"
#: Changes when the same members would become other bytes or other parts.
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class ArchivePlan:
    """An archive that is to be built: its members, its layout, and its place in the storage."""

    #: Identifies the content: archives with equal ids have equal bytes.
    plan_id: str
    plan: Plan
    members: Sequence[Member]
    #: The files that the manifest, the last item of the plan, lists as missing. None: no manifest.
    missing: Sequence[Missing] | None
    bucket: str
    #: The storage copies ranges of objects.
    can_copy: bool

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.plan_id}/archive.zip"

    @property
    def metadata(self) -> dict[str, str]:
        """Return the metadata of the finished object."""
        return {"plan": self.plan_id}

    def manifest(self, crc32s: Sequence[int]) -> bytes:
        """Return the manifest for the members' checksums."""
        return render_manifest(_sized(self.members), self.missing or [], crc32s)


def make_archive_plan(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    *,
    bucket: str,
    part_sizes: PartSizes,
    can_copy: bool,
) -> ArchivePlan:
    """Return the plan of an archive whose members all have a size and an ETag.

    Its id depends on the versions of the files, their names and order, and the sizes of parts:
    equal ids mean equal bytes and equal ETags. Raise PlanError if no upload can hold the archive.
    """
    items = [
        Item(
            raw_name=member.raw_name,
            size=member.file.size or 0,
            time=member.time,
            copyable=can_copy and member.file.location is not None,
        )
        for member in members
    ]
    if missing is not None:
        items.append(
            Item(
                raw_name=MANIFEST_NAME.encode(),
                size=len(render_manifest(_sized(members), missing, [0] * len(members))),
                time=max((item.time for item in items), default=records.EARLIEST),
                copyable=False,
            )
        )
    plan_id = _plan_id(members, missing, part_sizes, can_copy)
    return ArchivePlan(
        plan_id=plan_id,
        plan=make_plan(items, part_sizes),
        members=members,
        missing=missing,
        bucket=bucket,
        can_copy=can_copy,
    )


def _sized(members: Sequence[Member]) -> list[tuple[Member, int]]:
    return [(member, member.file.size or 0) for member in members]


def _plan_id(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    part_sizes: PartSizes,
    can_copy: bool,
) -> str:
    # Archives in the bucket are found by this id: these names and their order must not change.
    sizes = {
        "least": part_sizes.min_part_size,
        "write": part_sizes.write_size,
        "copy": part_sizes.copy_size,
        "max_parts": part_sizes.max_parts,
        "equal": part_sizes.equal_parts,
    }
    rows = [
        (m.file.origin, m.file.etag, m.file.size, m.time, m.file.crc32, m.name) for m in members
    ]
    absent = [(file.file_id, file.code, file.message) for file in missing or ()]
    values: list[object] = [FORMAT, sizes, can_copy, rows, missing is not None, absent]
    if missing is not None and any(sha256s := [member.file.sha256 for member in members]):
        values.append(sha256s)  # The manifest contains them.
    return hashlib.sha256(orjson.dumps(values)).hexdigest()[:40]
