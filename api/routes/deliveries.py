"""The webhook deliveries of a job."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.responses import DeliveriesSchema
from common.job_store.webhook_deliveries import DeliveryRecord
from common.jobs.presenter import iso

blueprint = Blueprint("deliveries", __name__, description="Webhooks")


@blueprint.route("/v1/download/<job:job_id>/deliveries")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The job's webhooks", schema=DeliveriesSchema),
        errors=(404,),
    )
)
def deliveries(job_id: str) -> Response:
    """List the webhooks of a job with every attempt to deliver them."""
    dependencies = deps()
    job = dependencies.queries.get(parsing.job_id(job_id))
    records = dependencies.webhook_deliveries.of_job(job.id)
    return json_response({"jobId": job.id, "deliveries": [_delivery(record) for record in records]})


def _delivery(record: DeliveryRecord) -> dict[str, Any]:
    return {
        "webhookId": record.id,
        "type": record.type,
        "version": record.job.version,
        "state": record.state,
        "nextAttemptAt": iso(record.next_at),
        "attempts": [
            {
                "attempt": attempt.attempt,
                "at": iso(attempt.at),
                "durationMs": attempt.duration_ms,
                "status": attempt.status,
                "error": attempt.error,
            }
            for attempt in record.attempts
        ],
    }
