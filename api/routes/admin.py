"""What only operators may see and do; who is one: ``api/auth/operators.py``."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import pagination, parsing
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_answer
from api.schemas.job import JobSchema
from api.schemas.operators import DeadLettersSchema, PausedSchema
from api.schemas.requests import PAGE_QUERY
from common.job_store.dead_letters import DeadLetter
from common.jobs.presenter import iso

blueprint = Blueprint("admin", __name__, description="For operators")


@blueprint.route("/v1/admin/dead-letters")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="A page of dead letters", schema=DeadLettersSchema),
        query=PAGE_QUERY,
        refusals=(403,),
    )
)
def dead_letters() -> Response:
    """Jobs that failed for good although a further attempt might have helped."""
    context = deps()
    asked = parsing.query(PAGE_QUERY)
    before = pagination.position(asked["cursor"])
    page, more = context.dead_letters.page(before=before, limit=asked["limit"])
    last = page[-1] if page and more else None
    return json_answer(
        {
            "deadLetters": [_dead_letter(letter) for letter in page],
            "nextCursor": pagination.encode([last.since, last.job.id]) if last else None,
        }
    )


@blueprint.route("/v1/admin/dead-letters/<job_id>/requeue", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=202, meaning="The job, queued again", schema=JobSchema),
        refusals=(403, 404, 409),
    )
)
def requeue(job_id: str) -> Response:
    """Run a dead letter again, with all its attempts."""
    context = deps()
    job = context.dead_letters.requeue(parsing.job_id(job_id))
    return json_answer(context.presenter.present(job), 202)


@blueprint.route("/v1/admin/queue/pause", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The queue is paused", schema=PausedSchema),
        refusals=(403,),
    )
)
def pause() -> Response:
    """Begin no more jobs: new ones are accepted and wait, those at work go on."""
    context = deps()
    context.pause.pause()
    return json_answer({"paused": True})


@blueprint.route("/v1/admin/queue/resume", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The queue runs", schema=PausedSchema), refusals=(403,)
    )
)
def resume() -> Response:
    """Begin jobs again, within seconds."""
    context = deps()
    context.pause.resume()
    return json_answer({"paused": False})


def _dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "job": deps().presenter.present(letter.job),
        "userId": letter.job.user,
        "since": iso(letter.since),
        "attempts": [
            {
                "attempt": note.attempt,
                "worker": note.worker,
                "startedAt": iso(note.started_at),
                "endedAt": iso(note.ended_at),
                "errorCode": note.error_code,
                "error": note.error,
            }
            for note in letter.attempts
        ],
    }
