"""Durable links to archives: the request and the responses."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from api.schemas.fields import ResponseSchema, count, list_of, string, time
from api.schemas.requests import MAX_NAME_LENGTH, NAME_PATTERN, NAME_RULE

MAX_USES: Final = 1_000_000
#: Seconds. Every link ends with the archive anyway.
MAX_EXPIRY: Final = 31_536_000


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValidationError("Must be an IP address or a network, such as 192.0.2.0/24.") from None


class LinkRequestSchema(Schema):
    """What the link allows. Without members: any number of downloads until the archive expires."""

    class Meta:
        unknown = RAISE

    expiresIn = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_EXPIRY),
        metadata={"description": "Seconds; the link ends with the archive at the latest"},
    )
    maxUses = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(1, MAX_USES),
        metadata={"description": "Number of downloads"},
    )
    ip = fields.String(
        load_default=None,
        allow_none=True,
        validate=[validate.Length(1, 64), _check_network],
        metadata={"description": "Address or network that may use the link"},
    )
    fileName = fields.String(
        load_default=None,
        allow_none=True,
        validate=[
            validate.Length(1, MAX_NAME_LENGTH),
            validate.Regexp(NAME_PATTERN, error=NAME_RULE),
        ],
        metadata={"description": "Name of the downloaded file"},
    )


class LinkSchema(ResponseSchema):
    """A link."""

    linkId = string("Identifies the link among those of the job")
    url = string("Only in the response that creates the link", null=True, format="uri")
    createdAt = time(null=False)
    expiresAt = time(null=False)
    uses = count("Downloads so far")
    maxUses = count(null=True, low=1)
    ip = string(null=True)
    fileName = string(null=True)
    lastUsedAt = time()
    revokedAt = time()


class LinksSchema(ResponseSchema):
    """The links of a job, oldest first."""

    jobId = string(format="uuid")
    links = list_of(LinkSchema)


LINK_REQUEST: Final[Any] = LinkRequestSchema()
