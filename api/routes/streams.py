"""Live streams: server-sent events in two forms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from flask import Response, g, request
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.live import sse
from api.live.messages import Form
from api.live.service import LiveUpdates
from api.openapi import ResponseSpec, operation
from api.schemas.job import EventSchema
from api.schemas.requests import LIVE_QUERY
from api.server.hijacking import Hijack, HijackResponse
from common.errors import BackendUnavailable

if TYPE_CHECKING:
    import _socket


blueprint = Blueprint("events", __name__, description="Watch jobs live")

_STREAM: Final = operation(
    ResponseSpec(
        status=200,
        meaning="Events, until the job is finished",
        schema=EventSchema,
        media="text/event-stream",
        headers=("Cache-Control",),
    ),
    ResponseSpec(
        status=204, meaning="The client knows already how the job ended: do not come back"
    ),
    query=LIVE_QUERY,
    headers=("Last-Event-ID",),
    refusals=(404,),
)


@blueprint.route("/v1/download/subscribe/<job:job_id>")
@blueprint.doc(**_STREAM)
def subscribe(job_id: str) -> Response:
    """Named server-sent events; with Upgrade: websocket the same messages as a WebSocket.

    `connected`, `progress`, `retrying`, `completed`, `failed`, `cancelled`, `expired` and
    `heartbeat`; the data of each is the whole job and a `timestamp`.
    """
    return _events(parsing.job_id(job_id), Form.NAMED)


@blueprint.route("/v1/download/<job:job_id>/stream")
@blueprint.doc(**_STREAM)
def stream(job_id: str) -> Response:
    """The same as unnamed events, for EventSource.onmessage."""
    return _events(parsing.job_id(job_id), Form.UNNAMED)


def _events(job_id: str, form: Form) -> Response:
    live = live_updates()
    since = known_version()
    if request.method == "HEAD":
        deps().queries.get(job_id)
        return Response(headers=sse.HEADERS)
    opened, job = live.open(job_id, form, user=g.caller.user)
    if job.terminal and job.version == since:
        # An EventSource comes back after every end, until it is told 204.
        live.abandon(opened)
        return Response(status=204)

    def start(connection: _socket.socket, head: bytes) -> None:
        live.start(opened, connection, head + sse.retry(), since, job)

    body = Hijack(start, partial(live.abandon, opened))
    return HijackResponse(body, 200, sse.HEADERS)


def live_updates() -> LiveUpdates:
    """The live updates of this process. Raises ``BackendUnavailable`` where there are none."""
    live = deps().live
    if not isinstance(live, LiveUpdates):
        raise BackendUnavailable("There are no live updates here; poll the job instead")
    return live


def known_version() -> int | None:
    """What the client says that it has seen."""
    return sse.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("lastEventId"))
