"""Fields of the schemas: those that clients send, and the members of responses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import orjson
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from api.dependencies import FileIdLimits, deps
from common.callback_urls import CallbackUrlRejected, check_callback_url

MAX_METADATA_BYTES: Final = 4096
MAX_METADATA_DEPTH: Final = 32
#: Values for which that size has room: each takes at least one character and a comma.
MAX_METADATA_VALUES: Final = MAX_METADATA_BYTES // 2
_METADATA_TOO_LARGE: Final = f"Must not be larger than {MAX_METADATA_BYTES} bytes as JSON."
#: The subject of a token may be any string.
MAX_USER_ID_LENGTH: Final = 1024
#: The integers that JSON libraries exchange without loss: signed and unsigned ones of 64 bits.
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1


class FileId(fields.Field[int]):
    """An integer within the catalog's range. JSON does not distinguish 1 from 1.0, so neither does
    this field."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        return file_id(value, deps().file_ids)


class FileIds(fields.Field[tuple[int, ...]]):
    """A list of file IDs; duplicates are removed and the order is kept."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Any,
        **kwargs: Any,
    ) -> tuple[int, ...]:
        limits = deps().file_ids
        if not isinstance(value, list) or not 1 <= len(value) <= limits.max_count:
            raise ValidationError(f"Must be a list of 1 to {limits.max_count} file IDs.")
        return tuple(dict.fromkeys(file_id(each, limits) for each in value))


def file_id(value: object, limits: FileIdLimits) -> int:
    """Return the id. Raise ``ValidationError`` if it is not an integer of the catalog's range."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not limits.min_id <= value <= limits.max_id:
        raise ValidationError(
            f"A file ID must be an integer from {limits.min_id} to {limits.max_id}."
        )
    return value


class UserId(fields.Field[str]):
    """The ID of a user. Some clients have numbers for it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_USER_ID_LENGTH:
            raise ValidationError(
                f"Must be an integer or a string of 1 to {MAX_USER_ID_LENGTH} characters."
            )
        return text


class Flag(fields.Boolean):
    """true or false, but none of the values that stand for them elsewhere."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class ExpiresIn(fields.Integer):
    """Whole seconds, at most those for which the service keeps archives."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict=True, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        seconds = super()._deserialize(value, attr, data, **kwargs)
        longest = int(deps().jobs.limits.archive_ttl)
        if not 1 <= seconds <= longest:
            raise ValidationError(f"Must be 1 to {longest} seconds.")
        return seconds


class Metadata(fields.Field[dict[str, Any]]):
    """A JSON object that is echoed back. It is small because every event contains it."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Must be a JSON object.")
        levels = list(itertools.islice(_levels(value), MAX_METADATA_DEPTH + 1))
        if len(levels) > MAX_METADATA_DEPTH:
            raise ValidationError(f"Must not be nested more than {MAX_METADATA_DEPTH} levels deep.")
        if any(
            type(part) is int and not MIN_INTEGER <= part <= MAX_INTEGER
            for part in itertools.chain.from_iterable(levels)
        ):
            raise ValidationError("Integers must fit into 64 bits. Send larger ones as strings.")
        # Such integers and deep nesting are errors for orjson.
        if len(orjson.dumps(value)) > MAX_METADATA_BYTES:
            raise ValidationError(_METADATA_TOO_LARGE)
        return value


class CallbackUrl(fields.String):
    """The URL of a webhook. Obviously private hosts are rejected here; every address is checked
    again when the webhook connects."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            check_callback_url(text or "", allow_private=deps().allow_private_callbacks)
        except CallbackUrlRejected as rejection:
            raise ValidationError(rejection.message) from None
        return text


def _levels(value: object) -> Iterator[list[object]]:
    """Yield a JSON value, its members, their members, and so on.

    Raises ``ValidationError`` as soon as there are too many, before time is spent on all of them.
    """
    level, remaining = [value], MAX_METADATA_VALUES
    while level:
        yield level
        members = (
            member
            for parent in level
            if isinstance(parent, dict | list)
            for member in (parent.values() if isinstance(parent, dict) else parent)
        )
        level = list(itertools.islice(members, remaining + 1))
        remaining -= len(level)
        if remaining < 0:
            raise ValidationError(_METADATA_TOO_LARGE)


class ResponseSchema(Schema):
    """A JSON object with exactly these members: none is ever absent, unknown values are null."""

    class Meta:
        unknown = RAISE


def member(kind: type[fields.Field[Any]], description: str = "", **options: Any) -> Any:
    """Return a required field of a response; ``options`` are those of marshmallow's field."""
    metadata = {"description": description} if description else {}
    return kind(required=True, metadata={**metadata, **options.pop("metadata", {})}, **options)


def string(description: str = "", *, null: bool = False, **metadata: Any) -> Any:
    return member(fields.String, description, allow_none=null, metadata=metadata)


def choice(values: Any, description: str = "", *, null: bool = False) -> Any:
    one_of = validate.OneOf(list(values))
    return member(fields.String, description, allow_none=null, validate=one_of)


def count(
    description: str = "", *, null: bool = False, low: int = 0, high: int | None = None
) -> Any:
    in_range = validate.Range(low, high)
    return member(fields.Integer, description, allow_none=null, validate=in_range)


def time(description: str = "", *, null: bool = True) -> Any:
    return string(description, null=null, format="date-time")


def list_of(schema: type[Schema], description: str = "") -> Any:
    return member(fields.List, description, cls_or_instance=fields.Nested(schema))


def success_rate() -> Any:
    return member(
        fields.Float,
        "completed / (completed + failed); null if there are neither",
        allow_none=True,
        validate=validate.Range(0, 1),
    )
