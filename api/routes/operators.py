"""Calls for operators: queue statistics, metrics, workers, dead letters, pausing the queue.

``api/auth/operators.py`` decides who is an operator.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from api import metrics, pagination, parsing
from api.admin.operator_actions import Action
from api.admin.overview import with_timestamp
from api.auth.operators import current_operator
from api.dependencies import deps
from api.live import sse
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.job import JobSchema
from api.schemas.operators import (
    DeadLettersSchema,
    OverviewEventSchema,
    OverviewSchema,
    PausedSchema,
    WorkersSchema,
)
from api.schemas.requests import PAGE_QUERY
from api.schemas.responses import StatisticsSchema
from api.server.hijacking import Hijack, HijackResponse, StreamHead
from common.errors import BackendUnavailable
from common.job_store.dead_letters import DeadLetter
from common.jobs.presenter import iso

# Three blueprints, because each is a tag of the OpenAPI document: generated clients group their
# methods by tag, so merging the tags would rename them.
service = Blueprint("operator", __name__, description="Service status")
overviews = Blueprint("overview", __name__, description="Operators: the service at a glance")
admin = Blueprint("admin", __name__, description="Operators: dead letters and pausing")


@service.route("/v1/download/queue/stats")
@service.doc(
    **operation(ResponseSpec(status=200, description="The current queue", schema=StatisticsSchema))
)
def queue_statistics() -> Response:
    """Return how many jobs are waiting, running, and finished, and how long they take.

    The figures are at most a second old.
    """
    return json_response(deps().queue_statistics.get())


@service.route(metrics.PATH)
@service.doc(
    **operation(
        ResponseSpec(
            status=200,
            description="Prometheus text format",
            media=metrics.MEDIA_TYPE,
        ),
        errors=(403,),
    )
)
def prometheus() -> Response:
    """Return metrics for Prometheus."""
    text = metrics.exposition(*deps().collectors)
    return Response(text, content_type=metrics.CONTENT_TYPE)


@overviews.route("/v1/admin/workers")
@overviews.doc(
    **operation(
        ResponseSpec(status=200, description="The workers", schema=WorkersSchema), errors=(403,)
    )
)
def workers() -> Response:
    """List the workers: host, start time, slots, and the jobs that each one is running."""
    return json_response({"workers": deps().overview.workers()})


@overviews.route("/v1/admin/overview")
@overviews.doc(
    **operation(
        ResponseSpec(status=200, description="The current overview", schema=OverviewSchema),
        errors=(403,),
    )
)
def overview() -> Response:
    """Return queue statistics, workers with their jobs, and the latest failures of all users."""
    return json_response(with_timestamp(deps().overview.read()))


@overviews.route("/v1/admin/stream")
@overviews.doc(
    **operation(
        ResponseSpec(
            status=200,
            description="Server-sent events. The stream ends after 15 minutes; reconnect then.",
            schema=OverviewEventSchema,
            media="text/event-stream",
            headers=("Cache-Control",),
        ),
        errors=(403,),
    )
)
def stream() -> Response:
    """Stream the overview as server-sent events: first the current one, then every change.

    A change is sent within a second. When nothing changes, each heartbeat repeats the overview.
    """
    streams = deps().operator_streams
    if streams is None:
        raise BackendUnavailable(
            "Live updates are not available on this server. Poll the overview instead."
        )
    if request.method == "HEAD":
        return StreamHead(headers=sse.HEADERS)
    return HijackResponse(Hijack(streams.open_stream()), 200, sse.HEADERS)


@admin.route("/v1/admin/dead-letters")
@admin.doc(
    **operation(
        ResponseSpec(status=200, description="A page of dead letters", schema=DeadLettersSchema),
        query=PAGE_QUERY,
        errors=(403,),
    )
)
def dead_letters() -> Response:
    """List the jobs that failed although another attempt might succeed, newest first."""
    query = parsing.query(PAGE_QUERY)
    before = pagination.decode_position(query["cursor"])
    page, more = deps().dead_letters.page(before=before, limit=query["limit"])
    last = page[-1] if page and more else None
    return json_response(
        {
            "deadLetters": [_dead_letter(letter) for letter in page],
            "nextCursor": pagination.encode_cursor([last.since, last.job.id]) if last else None,
        }
    )


@admin.route("/v1/admin/dead-letters/<job_id>/requeue", methods=["POST"])
@admin.doc(
    **operation(
        ResponseSpec(status=202, description="The job, queued again", schema=JobSchema),
        errors=(403, 404, 409),
    )
)
def requeue(job_id: str) -> Response:
    """Run a dead letter again, with a full set of attempts."""
    dependencies = deps()
    job = dependencies.dead_letters.requeue(parsing.job_id(job_id))
    dependencies.operator_actions.record(
        Action.REQUEUE, current_operator(), matched=1, changed=1, job_ids=[job.id]
    )
    return json_response(dependencies.presenter.present(job), 202)


@admin.route("/v1/admin/queue/pause", methods=["POST"])
@admin.doc(
    **operation(
        ResponseSpec(status=200, description="The queue is paused", schema=PausedSchema),
        errors=(403,),
    )
)
def pause() -> Response:
    """Stop starting jobs. New jobs are accepted and wait; running jobs continue."""
    deps().pause.pause()
    deps().operator_actions.record("pause", current_operator())
    return json_response({"paused": True})


@admin.route("/v1/admin/queue/resume", methods=["POST"])
@admin.doc(
    **operation(
        ResponseSpec(status=200, description="The queue is running", schema=PausedSchema),
        errors=(403,),
    )
)
def resume() -> Response:
    """Start jobs again, within seconds."""
    deps().pause.resume()
    deps().operator_actions.record("resume", current_operator())
    return json_response({"paused": False})


def _dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "job": deps().presenter.present(letter.job),
        "userId": letter.job.user,
        "since": iso(letter.since),
        "attempts": [
            {
                "attempt": attempt.attempt,
                "worker": attempt.worker,
                "startedAt": iso(attempt.started_at),
                "endedAt": iso(attempt.ended_at),
                "errorCode": attempt.error_code,
                "error": attempt.error,
            }
            for attempt in letter.attempts
        ],
    }
