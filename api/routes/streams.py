"""Live updates of one job: server-sent events in two forms, and a WebSocket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from flask import Blueprint as PlainBlueprint
from flask import Response, g, request
from flask_smorest import Blueprint

from api import parsing
from api.dependencies import deps
from api.errors import (
    FilesForbidden,
    Forbidden,
    Unauthorized,
    ValidationFailed,
    WebSocketVersionUnsupported,
)
from api.live import sse, websocket
from api.live.messages import StreamFormat
from api.live.service import LiveUpdates
from api.openapi import ResponseSpec, operation
from api.request_hooks import client
from api.schemas.job import EventSchema
from api.schemas.requests import LIVE_QUERY
from api.server.hijacking import Hijack, HijackResponse, StreamHead
from common.errors import BackendUnavailable, JobNotFound, LonghaulError

if TYPE_CHECKING:
    import _socket


blueprint = Blueprint("events", __name__, description="Watch jobs live")
# The WebSocket has a blueprint of its own, because OpenAPI cannot describe a WebSocket. Werkzeug
# routes the same path to either view, depending on the request's Upgrade header.
websocket_blueprint = PlainBlueprint("websocket", __name__)

#: Close codes of rejected WebSockets: browsers do not show the status of the handshake.
CLOSE_CODES: Final[dict[type[LonghaulError], int]] = {
    Unauthorized: websocket.UNAUTHORIZED,
    FilesForbidden: websocket.FORBIDDEN,
    Forbidden: websocket.FORBIDDEN,
    JobNotFound: websocket.NOT_FOUND,
}

_STREAM: Final = operation(
    ResponseSpec(
        status=200,
        description="Events until the job is finished. If the stream ends earlier, reconnect with "
        "Last-Event-ID.",
        schema=EventSchema,
        media="text/event-stream",
        headers=("Cache-Control",),
    ),
    ResponseSpec(
        status=204,
        description="The client already has the final state of the job: stop reconnecting",
    ),
    query=LIVE_QUERY,
    headers=("Last-Event-ID",),
    errors=(404,),
)


@blueprint.route("/v1/download/subscribe/<job:job_id>")
@blueprint.doc(**_STREAM)
def subscribe(job_id: str) -> Response:
    """Stream named server-sent events. With `Upgrade: websocket`, the same as a WebSocket.

    The events are `connected`, `progress`, `retrying`, `completed`, `failed`, `cancelled`,
    `expired`, and `heartbeat`. The data of each event is the whole job and a `timestamp`.
    """
    return _events(parsing.job_id(job_id), StreamFormat.NAMED)


@blueprint.route("/v1/download/<job:job_id>/stream")
@blueprint.doc(**_STREAM)
def stream(job_id: str) -> Response:
    """Stream the same events without names, for `EventSource.onmessage`."""
    return _events(parsing.job_id(job_id), StreamFormat.UNNAMED)


@websocket_blueprint.route("/v1/download/subscribe/<job:job_id>", websocket=True)
def web_socket(job_id: str) -> Response:
    """Send text frames ``{type, …job, timestamp}`` until the job is finished."""
    if websocket.has_other_version(request.environ):
        raise WebSocketVersionUnsupported
    try:
        headers = websocket.accept(request.environ)
    except ValueError as error:
        raise ValidationFailed({"Upgrade": [str(error)]}) from None
    return HijackResponse(_conversation(job_id), 101, headers)


def _events(job_id: str, format_: StreamFormat) -> Response:
    live = live_updates()
    if request.method == "HEAD":
        deps().queries.get(job_id)
        return StreamHead(headers=sse.HEADERS)
    pending = live.open_stream(job_id, format_, client=client(), last_version=last_seen_version())
    if pending.nothing_to_send:
        # An EventSource reconnects whenever a stream ends; only a 204 stops it.
        pending.abandon()
        return Response(status=204)
    return HijackResponse(Hijack(pending.start, pending.abandon), 200, sse.HEADERS)


def _conversation(job_id: str) -> Hijack:
    try:
        if rejection := g.get("websocket_rejection"):
            raise rejection
        pending = live_updates().open_stream(
            parsing.job_id(job_id),
            StreamFormat.WEBSOCKET,
            client=client(),
            last_version=last_seen_version(),
        )
    except LonghaulError as error:
        # Browsers hide a failed handshake from the page, but not the code of a close frame.
        code = CLOSE_CODES.get(type(error), websocket.TRY_AGAIN_LATER)
        return Hijack(partial(_reject, code))
    return Hijack(pending.start, pending.abandon)


def _reject(code: int, connection: _socket.socket, head: bytes) -> None:
    connection.sendall(head + websocket.close(code))
    connection.close()


def live_updates() -> LiveUpdates:
    """Return the live updates of this process. Raise ``BackendUnavailable`` if it has none."""
    live = deps().live
    if not isinstance(live, LiveUpdates):
        raise BackendUnavailable(
            "Live updates are not available on this server. Poll the job's status instead."
        )
    return live


def last_seen_version() -> int | None:
    """Return the version that the client says it has received last."""
    return sse.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("lastEventId"))
