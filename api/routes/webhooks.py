"""The caller's webhook secret, and replays of their webhooks."""

from __future__ import annotations

import time

from flask import Response, g
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.errors import WebhookSecretsDisabled
from api.openapi import ResponseSpec, operation
from api.request_hooks import require_creation_rate
from api.responses import json_response
from api.schemas.webhooks import REPLAY, ROTATION, ReplayedSchema, SecretSchema
from common.job_store.webhook_secrets import SecretGenerations
from common.jobs.presenter import iso

blueprint = Blueprint("webhooks", __name__, description="Webhook secret and replays")


@blueprint.route("/v1/webhooks/secret")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="Your secret", schema=SecretSchema), errors=(404,)
    )
)
def secret() -> Response:
    """Return the secret that signs your webhooks, and only yours."""
    return _secret(deps().webhook_secrets.of_user(g.caller.user))


@blueprint.route("/v1/webhooks/secret/rotate", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The new secret", schema=SecretSchema),
        body=ROTATION,
        errors=(404,),
    )
)
def rotate() -> Response:
    """Replace your secret. For a while, webhooks have a signature by the earlier one, too."""
    overlap = parsing.body(ROTATION)["overlap"]
    if deps().webhook_keys.secret(g.caller.user, 1) is None:
        raise WebhookSecretsDisabled
    require_creation_rate()
    return _secret(deps().webhook_secrets.rotate(g.caller.user, overlap=overlap))


@blueprint.route("/v1/webhooks/replay", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=202, description="The webhooks are due", schema=ReplayedSchema),
        body=REPLAY,
    )
)
def replay() -> Response:
    """Send your webhooks since a time again, with the same IDs and with all their attempts."""
    body = parsing.body(REPLAY)
    require_creation_rate()
    replayed, following = deps().deliveries.replay_since(
        g.caller.user, round(body["since"].timestamp() * 1000), state=body["state"]
    )
    return json_response({"replayed": replayed, "nextSince": iso(following)}, 202)


def _secret(generations: SecretGenerations) -> Response:
    value = deps().webhook_keys.secret(g.caller.user, generations.current)
    if value is None:
        raise WebhookSecretsDisabled
    return json_response(
        {
            "secret": value,
            "generation": generations.current,
            "rotatedAt": iso(generations.rotated_at),
            "earlierValidUntil": iso(generations.earlier_until(time.time_ns() // 1_000_000)),
        }
    )
