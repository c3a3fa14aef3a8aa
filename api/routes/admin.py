"""What only operators may see and do; who is one: ``api/operators.py``."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from api import cursors, parsing
from api.answers import json_answer
from api.context import here
from api.openapi import Answer, operation
from api.schemas.admin import DeadLettersSchema, PausedSchema
from api.schemas.job import JobSchema
from api.schemas.requests import PAGE_QUERY
from common.presenter import iso
from common.store.dead_letters import DeadLetter

blueprint = Blueprint("admin", __name__, description="For operators")


@blueprint.route("/v1/admin/dead-letters")
@blueprint.doc(
    **operation(
        Answer(status=200, meaning="A page of dead letters", schema=DeadLettersSchema),
        query=PAGE_QUERY,
        refusals=(403,),
    )
)
def dead_letters() -> Response:
    """Jobs that failed for good although a further attempt might have helped."""
    context = here()
    asked = parsing.query(PAGE_QUERY)
    before = cursors.position(asked["cursor"])
    page, more = context.dead_letters.page(before=before, limit=asked["limit"])
    last = page[-1] if page and more else None
    return json_answer(
        {
            "deadLetters": [_dead_letter(letter) for letter in page],
            "nextCursor": cursors.encode([last.since, last.job.id]) if last else None,
        }
    )


@blueprint.route("/v1/admin/dead-letters/<job_id>/requeue", methods=["POST"])
@blueprint.doc(
    **operation(
        Answer(status=202, meaning="The job, queued again", schema=JobSchema),
        refusals=(403, 404, 409),
    )
)
def requeue(job_id: str) -> Response:
    """Run a dead letter again, with all its attempts."""
    context = here()
    job = context.dead_letters.requeue(parsing.job_id(job_id))
    return json_answer(context.presenter.present(job), 202)


@blueprint.route("/v1/admin/queue/pause", methods=["POST"])
@blueprint.doc(
    **operation(
        Answer(status=200, meaning="The queue is paused", schema=PausedSchema), refusals=(403,)
    )
)
def pause() -> Response:
    """Begin no more jobs: new ones are accepted and wait, those at work go on."""
    context = here()
    context.pause.pause()
    return json_answer({"paused": True})


@blueprint.route("/v1/admin/queue/resume", methods=["POST"])
@blueprint.doc(
    **operation(Answer(status=200, meaning="The queue runs", schema=PausedSchema), refusals=(403,))
)
def resume() -> Response:
    """Begin jobs again, within seconds."""
    context = here()
    context.pause.resume()
    return json_answer({"paused": False})


def _dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "job": here().presenter.present(letter.job),
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
