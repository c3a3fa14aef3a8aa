"""From members to what is to be built, under an id that depends on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from common.sources import Missing
from worker.archive.composing.state import ArchivePlan
from worker.archive.planning.layout import Geometry, Item
from worker.archive.planning.manifest import render
from worker.archive.planning.members import MANIFEST_NAME, Member
from worker.archive.planning.plan import make_plan
from worker.archive.zip_format import records

#: Below it, by plan, lies all that is composed.
PREFIX = "archives/"
#: Changes whenever the same members would come out as other bytes or other parts.
FORMAT = 1


def make_archive_plan(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    *,
    bucket: str,
    geometry: Geometry,
    can_copy: bool,
) -> ArchivePlan:
    """The blueprint of an archive. Each member must have a size and an ETag.

    The id names the versions of the files, their names and order, and the cut into parts: with
    the same id come the same bytes and the same ETag. Raises Unplannable.
    """
    items = [
        Item(
            raw_name=member.raw_name,
            size=member.entry.size or 0,
            time=member.time,
            copyable=can_copy and member.entry.location is not None,
        )
        for member in members
    ]
    if missing is not None:
        sized = [(member, member.entry.size or 0) for member in members]
        items.append(
            Item(
                raw_name=MANIFEST_NAME.encode(),
                size=len(render(sized, missing, [0] * len(members))),
                time=max((item.time for item in items), default=records.EARLIEST),
                copyable=False,
            )
        )
    plan_id = _plan_id(members, missing, geometry, can_copy)
    return ArchivePlan(
        plan_id=plan_id,
        plan=make_plan(items, geometry),
        members=members,
        missing=missing,
        bucket=bucket,
        prefix=f"{PREFIX}{plan_id}/",
        can_copy=can_copy,
    )


def _plan_id(
    members: Sequence[Member],
    missing: Sequence[Missing] | None,
    geometry: Geometry,
    can_copy: bool,
) -> str:
    rows = [
        (m.entry.origin, m.entry.etag, m.entry.size, m.time, m.entry.crc32, m.name) for m in members
    ]
    lacking = [(file.file_id, file.code, file.message) for file in missing or ()]
    identity = orjson.dumps([FORMAT, geometry, can_copy, rows, missing is not None, lacking])
    return hashlib.sha256(identity).hexdigest()[:40]
