"""Live streams: server-sent events in two forms, and the same as a WebSocket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from flask import Response, g, request
from flask_smorest import Blueprint

from api import parsing
from api.access import CLOSE_CODES
from api.context import here
from api.errors import ValidationFailed
from api.live import websocket, wire
from api.live.events import Form
from api.live.handover import Handover
from api.live.service import LiveUpdates
from api.openapi import Answer, operation
from api.schemas.answers import EventSchema
from api.schemas.requests import LIVE_QUERY
from common.errors import BackendUnavailable, LonghaulError

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment

blueprint = Blueprint("events", __name__, description="Watch jobs live")

_STREAM: Final = operation(
    Answer(
        status=200,
        meaning="Events, until the job is finished",
        schema=EventSchema,
        media="text/event-stream",
        headers=("Cache-Control",),
    ),
    Answer(status=204, meaning="The client knows already how the job ended: do not come back"),
    query=LIVE_QUERY,
    headers=("Last-Event-ID",),
    refusals=(404,),
)


@blueprint.route("/v1/download/subscribe/<job:job_id>")
@blueprint.doc(**_STREAM)
def subscribe(job_id: str) -> Response:
    """Named server-sent events, or with Upgrade: websocket a WebSocket of the same messages.

    `connected`, `progress`, `retrying`, `completed`, `failed`, `cancelled`, `expired` and
    `heartbeat`; the data of each is the whole job and a ``timestamp``.
    """
    job_id = parsing.job_id(job_id)
    if websocket.wanted(request.environ):
        return _web_socket(job_id)
    return _events(job_id, Form.NAMED)


@blueprint.route("/v1/download/<job:job_id>/stream")
@blueprint.doc(**_STREAM)
def stream(job_id: str) -> Response:
    """The same as unnamed events, for EventSource.onmessage."""
    return _events(parsing.job_id(job_id), Form.UNNAMED)


def _events(job_id: str, form: Form) -> Response:
    live = _live()
    since = _since()
    if request.method == "HEAD":
        here().queries.get(job_id)
        return Response(headers=wire.HEADERS)
    opened, job = live.open(job_id, form, user=g.caller.user)
    if job.terminal and job.version == since:
        # An EventSource comes back after every end, until it is told 204.
        live.abandon(opened)
        return Response(status=204)

    def start(connection: _socket.socket, head: bytes) -> None:
        live.start(opened, connection, head + wire.retry(), since, job)

    body = Handover(start, partial(live.abandon, opened))
    return Response(body, headers=wire.HEADERS, direct_passthrough=True)


def _web_socket(job_id: str) -> Response:
    try:
        headers = websocket.accept(request.environ)
    except ValueError as error:
        raise ValidationFailed({"Upgrade": [str(error)]}) from None
    body = _socket_body(_live(), job_id)
    return _SwitchingProtocols(body, 101, headers, direct_passthrough=True)


class _SwitchingProtocols(Response):
    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:  # noqa: ARG002
        # Werkzeug drops the body of any 1xx, and here it is what takes the connection over.
        return cast("Iterable[bytes]", self.response)


def _socket_body(live: LiveUpdates, job_id: str) -> Handover:
    since = _since()
    try:
        if refusal := g.get("refusal"):
            raise refusal
        opened, job = live.open(job_id, Form.WEBSOCKET, user=g.caller.user)
    except LonghaulError as error:
        # A browser tells its page nothing of a refused handshake, but the code of a close.
        code = CLOSE_CODES.get(type(error), websocket.TRY_LATER)
        return Handover(partial(_refuse, code), _nothing)

    def start(connection: _socket.socket, head: bytes) -> None:
        live.start(opened, connection, head, since, job)

    return Handover(start, partial(live.abandon, opened))


def _refuse(code: int, connection: _socket.socket, head: bytes) -> None:
    connection.sendall(head + websocket.close(code))
    connection.close()


def _nothing() -> None:
    """A refused WebSocket leaves nothing behind."""


def _live() -> LiveUpdates:
    live = here().live
    if not isinstance(live, LiveUpdates):
        raise BackendUnavailable("There are no live updates here; poll the job instead")
    return live


def _since() -> int | None:
    return wire.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("lastEventId"))
