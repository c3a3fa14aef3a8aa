"""The service at a glance, for operators: once, or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request
from flask_smorest import Blueprint

from api.dependencies import deps
from api.live import sse
from api.openapi import ResponseSpec, operation
from api.overview import stamped
from api.responses import json_answer
from api.schemas.operators import OverviewEventSchema, OverviewSchema, WorkersSchema
from api.server.hijacking import Hijack, HijackResponse
from common.errors import BackendUnavailable

if TYPE_CHECKING:
    import _socket

blueprint = Blueprint("overview", __name__, description="The service at a glance")


@blueprint.route("/v1/admin/workers")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The workers", schema=WorkersSchema), refusals=(403,)
    )
)
def workers() -> Response:
    """Each worker: where it runs, since when, how many jobs it may run, and which it does run."""
    return json_answer({"workers": deps().overview.workers()})


@blueprint.route("/v1/admin/overview")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="All of it now", schema=OverviewSchema), refusals=(403,)
    )
)
def overview() -> Response:
    """The queue's figures, the workers with their jobs, and the newest failures of all users."""
    return json_answer(stamped(deps().overview.read()))


@blueprint.route("/v1/admin/stream")
@blueprint.doc(
    **operation(
        ResponseSpec(
            status=200,
            meaning="Events, a quarter of an hour long; then come back",
            schema=OverviewEventSchema,
            media="text/event-stream",
            headers=("Cache-Control",),
        ),
        refusals=(403,),
    )
)
def stream() -> Response:
    """The overview as server-sent events: at first, and within a second of every change.

    When nothing changes it comes again with each heartbeat.
    """
    board = deps().board
    if board is None:
        raise BackendUnavailable("There are no live updates here; ask for the overview instead")
    if request.method == "HEAD":
        return Response(headers=sse.HEADERS)
    opening = board.opening()

    def start(connection: _socket.socket, head: bytes) -> None:
        board.admit(connection, head + opening)

    return HijackResponse(Hijack(start, _nothing), 200, sse.HEADERS)


def _nothing() -> None:
    """A stream that nobody waits for any more leaves nothing behind."""
