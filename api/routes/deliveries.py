"""What became of a job's webhooks."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_answer
from api.schemas.responses import DeliveriesSchema
from common.job_store.webhook_deliveries import DeliveryRecord
from common.jobs.presenter import iso

blueprint = Blueprint("deliveries", __name__, description="Webhooks")


@blueprint.route("/v1/download/<job:job_id>/deliveries")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The job's webhooks", schema=DeliveriesSchema),
        refusals=(404,),
    )
)
def deliveries(job_id: str) -> Response:
    """The webhooks of a job with every attempt to deliver them."""
    context = deps()
    job = context.queries.get(parsing.job_id(job_id))
    shown = [_delivery(record) for record in context.deliveries.of_job(job.id)]
    return json_answer({"jobId": job.id, "deliveries": shown})


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
