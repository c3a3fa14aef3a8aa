"""How answers are described: members are never absent, unknown ones are null."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate


def member(kind: type[fields.Field[Any]], meaning: str = "", **options: Any) -> Any:
    metadata = {"description": meaning} if meaning else {}
    return kind(required=True, metadata={**metadata, **options.pop("metadata", {})}, **options)


def string(meaning: str = "", *, null: bool = False, **metadata: Any) -> Any:
    return member(fields.String, meaning, allow_none=null, metadata=metadata)


def choice(values: Any, meaning: str = "", *, null: bool = False) -> Any:
    return member(fields.String, meaning, allow_none=null, validate=validate.OneOf(list(values)))


def count(meaning: str = "", *, null: bool = False, low: int = 0, high: int | None = None) -> Any:
    check = validate.Range(low, high)
    return member(fields.Integer, meaning, allow_none=null, validate=check)


def time(meaning: str = "", *, null: bool = True) -> Any:
    return string(meaning, null=null, format="date-time")


class AnswerSchema(Schema):
    """An object that has these members and no others."""

    class Meta:
        unknown = RAISE
