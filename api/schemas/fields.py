"""Fields that marshmallow lacks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from marshmallow import ValidationError, fields

from api.context import here

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
        most = here().file_ids.most
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise ValidationError(f"A list of 1 to {most} file ids")
        return tuple(dict.fromkeys(map(file_id, value)))


def file_id(value: object) -> int:
    """Raises marshmallow's ``ValidationError`` when it is none."""
    rules = here().file_ids
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
        if text is None or not _plausible_target(text):
            raise ValidationError("An http or https URL of a public host, without credentials")
        return text


def _plausible_target(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        return False
    if any(not "!" <= character <= "~" for character in url):
        return False
    host = host.rstrip(".")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        # A name; but one that ends in a number is an address in some old notation.
        return "." in host and not host.rpartition(".")[2][0:1].isdecimal()


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
