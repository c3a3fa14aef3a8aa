"""The files of a request with their paths in the archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, fields

from api.dependencies import deps
from api.schemas.fields import file_id

#: Characters. The worker makes the path safe, and shortens it to so many bytes.
MAX_PATH_LENGTH: Final = 1024

#: The members of the request that say which files to download; it has exactly one of them.
MEMBERS: Final = ("file_ids", "file_id", "files")

#: A file id, and the path in the archive or None.
RequestedFile = tuple[int, str | None]


class RequestedFiles(fields.Field[tuple[RequestedFile, ...]]):
    """A list of files with their paths; the same file with the same path again is ignored."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> tuple[RequestedFile, ...]:
        max_count = deps().file_ids.max_count
        if not isinstance(value, list) or not 1 <= len(value) <= max_count:
            raise ValidationError(f"Must be a list of 1 to {max_count} files.")
        requested: dict[RequestedFile, None] = {}
        for index, each in enumerate(value):
            try:
                requested[_requested_file(each)] = None
            except ValidationError as error:
                # Like the messages of a list of objects: by index, then by member.
                raise ValidationError({index: error.messages}) from None
        return tuple(requested)


def schema(id_schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what OpenAPI says about a list of files; ``id_schema`` is about the id of one."""
    path = {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": MAX_PATH_LENGTH,
        "description": "Where the file goes in the archive, with / between folders. A path that "
        "ends in / is a folder in which the file keeps its own name. Without a path, the file is "
        "at the top. Unsafe parts, such as .., are left out.",
        "examples": ["2026/reports/april.pdf", "2026/reports/"],
    }
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": deps().file_ids.max_count,
        "items": {
            "type": "object",
            "properties": {"file_id": id_schema, "path": path},
            "required": ["file_id"],
            "additionalProperties": False,
        },
    }


def of_request(body: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[str | None, ...]]:
    """Return the ids and paths of a validated request; no paths if none of the files has one."""
    if "file_id" in body:
        return (body["file_id"],), ()
    if "file_ids" in body:
        return body["file_ids"], ()
    file_ids, paths = zip(*body["files"], strict=True)
    return file_ids, paths if any(paths) else ()


def require_exactly_one(body: Mapping[str, Any]) -> None:
    """Raise ``ValidationError`` unless the request says in exactly one way which files it wants."""
    if sum(member in body for member in MEMBERS) != 1:
        raise ValidationError("Specify one of file_ids, file_id and files.", "file_ids")


def _requested_file(value: object) -> RequestedFile:
    if not isinstance(value, dict) or "file_id" not in value:
        raise ValidationError("Must be an object with file_id and optionally path.")
    if unknown := sorted(value.keys() - {"file_id", "path"}):
        raise ValidationError({unknown[0]: ["Unknown field."]})
    path = value.get("path")
    if path is not None and not (isinstance(path, str) and 1 <= len(path) <= MAX_PATH_LENGTH):
        raise ValidationError({"path": [f"Must be a string of 1 to {MAX_PATH_LENGTH} characters."]})
    try:
        return file_id(value["file_id"], deps().file_ids), path
    except ValidationError as error:
        raise ValidationError({"file_id": error.messages}) from None
