"""Fields that marshmallow lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from marshmallow import ValidationError, fields

from api.dependencies import deps
from common.callback_urls import CallbackRefused, check_callback_url

METADATA_BYTES: Final = 4096
METADATA_DEPTH: Final = 32


class FileId(fields.Field[int]):
    """An integer within the catalogue's range; JSON does not tell 1 from 1.0, nor does this."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        return file_id(value)


class FileIds(fields.Field[tuple[int, ...]]):
    """File ids without their duplicates, in the order given."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Any,
        **kwargs: Any,
    ) -> tuple[int, ...]:
        most = deps().file_ids.most
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise ValidationError(f"A list of 1 to {most} file ids")
        return tuple(dict.fromkeys(map(file_id, value)))


def file_id(value: object) -> int:
    """Raises marshmallow's ``ValidationError`` when it is none."""
    rules = deps().file_ids
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not rules.smallest <= value <= rules.largest:
        raise ValidationError(f"File ids are integers from {rules.smallest} to {rules.largest}")
    return value


class Metadata(fields.Field[dict[str, Any]]):
    """A JSON object that is echoed back, small enough to travel with every event."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("A JSON object")
        if _depth(value) > METADATA_DEPTH:
            raise ValidationError(f"Nested at most {METADATA_DEPTH} deep")
        if len(orjson.dumps(value)) > METADATA_BYTES:
            raise ValidationError(f"At most {METADATA_BYTES} bytes as JSON")
        return value


class CallbackUrl(fields.String):
    """Where a webhook goes: plainly private targets are refused here, all others on connecting."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            check_callback_url(text or "", allow_private=deps().private_callbacks)
        except CallbackRefused as refused:
            raise ValidationError(refused.message) from None
        return text


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for parent in level
            if isinstance(parent, Mapping | list)
            for child in (parent.values() if isinstance(parent, Mapping) else parent)
        ]
    return deepest
