"""The webhook deliveries of a job."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.request_hooks import require_creation_rate
from api.responses import json_response
from api.schemas.responses import DeliveriesSchema
from common.errors import DeliveryNotFound
from common.job_store.deliveries import DeliveryAttempt, DeliveryRecord, Exchange
from common.jobs.presenter import iso

blueprint = Blueprint("deliveries", __name__, description="Webhook deliveries")


@blueprint.route("/v1/download/<job:job_id>/deliveries")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The job's webhooks", schema=DeliveriesSchema),
        errors=(404,),
    )
)
def deliveries(job_id: str) -> Response:
    """List the webhooks of a job with every attempt to deliver them."""
    return _deliveries(deps().queries.get(parsing.job_id(job_id)).id)


@blueprint.route("/v1/download/<job:job_id>/deliveries/<webhook_id>/replay", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=202, description="The webhook is due", schema=DeliveriesSchema),
        errors=(404,),
    )
)
def replay(job_id: str, webhook_id: str) -> Response:
    """Send a webhook again, with the same ID and with all its attempts."""
    dependencies = deps()
    job = dependencies.queries.get(parsing.job_id(job_id))
    require_creation_rate()
    records = dependencies.deliveries.of_job(job.id)
    version = next((each.job.version for each in records if each.id == webhook_id), None)
    if version is None:
        raise DeliveryNotFound
    dependencies.deliveries.replay(job.id, version)
    return _deliveries(job.id, 202)


def _deliveries(job_id: str, status: int = 200) -> Response:
    records = deps().deliveries.of_job(job_id)
    shown = [_delivery(record) for record in records]
    return json_response({"jobId": job_id, "deliveries": shown}, status)


def _delivery(record: DeliveryRecord) -> dict[str, Any]:
    return {
        "webhookId": record.id,
        "type": record.type,
        "version": record.job.version,
        "state": record.state,
        "nextAttemptAt": iso(record.next_at),
        "attempts": [
            _attempt(attempt, record.exchanges.get(attempt.attempt)) for attempt in record.attempts
        ],
    }


def _attempt(attempt: DeliveryAttempt, exchange: Exchange | None) -> dict[str, Any]:
    received = exchange.response_headers if exchange else None
    return {
        "attempt": attempt.attempt,
        "at": iso(attempt.at),
        "durationMs": attempt.duration_ms,
        "status": attempt.status,
        "error": attempt.error,
        "request": exchange and {"url": exchange.url, "headers": exchange.request_headers},
        "response": None if received is None else {"headers": received},
    }
