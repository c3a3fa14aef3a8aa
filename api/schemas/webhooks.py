"""The secret that signs a user's webhooks, and replays."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

from marshmallow import RAISE, Schema, fields, validate

from api.schemas.fields import ResponseSchema, count, string, time
from api.schemas.responses import DELIVERY_STATES

#: Seconds.
DEFAULT_OVERLAP: Final = 86_400
MAX_OVERLAP: Final = 30 * 86_400


class RotationSchema(Schema):
    """How long the earlier secret remains valid."""

    class Meta:
        unknown = RAISE

    overlap = fields.Integer(
        load_default=DEFAULT_OVERLAP,
        strict=True,
        validate=validate.Range(0, MAX_OVERLAP),
        metadata={
            "description": "Seconds for which webhooks also have a signature by the earlier "
            "secret. Send 0 if others know that secret"
        },
    )


class SecretSchema(ResponseSchema):
    """The secret that your webhooks are signed with."""

    secret = string("whsec_ and base64, as Standard Webhooks defines", pattern="^whsec_")
    generation = count("Incremented by every rotation", low=1)
    rotatedAt = time()
    earlierValidUntil = time("Until then, webhooks have a signature by an earlier secret, too")


class ReplaySchema(Schema):
    """Which webhooks to send again."""

    class Meta:
        unknown = RAISE

    since = fields.AwareDateTime(
        required=True,
        format="iso",
        default_timezone=UTC,
        metadata={"description": "Webhooks for states that jobs entered at this time or later"},
    )
    state = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(DELIVERY_STATES),
        metadata={"description": "Only webhooks in this state, such as `failed`"},
    )


class ReplayedSchema(ResponseSchema):
    """How many webhooks are sent again."""

    replayed = count()
    nextSince = time("Replay again from this time: there are more webhooks than one call handles")


ROTATION: Final[Any] = RotationSchema()
REPLAY: Final[Any] = ReplaySchema()
