"""The live stream of a job as a WebSocket: the path and the messages of ``subscribe``.

A blueprint of its own, because an OpenAPI document cannot describe a WebSocket, and because the
router tells the two kinds of request apart.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g, request

from api import parsing
from api.auth.authorization import CLOSE_CODES
from api.errors import ValidationFailed
from api.live import websocket
from api.live.messages import Form
from api.routes.streams import known_version, live_updates
from api.server.hijacking import Hijack, HijackResponse
from common.errors import LonghaulError

if TYPE_CHECKING:
    import _socket

blueprint = Blueprint("sockets", __name__)


@blueprint.route("/v1/download/subscribe/<job:job_id>", websocket=True)
def web_socket(job_id: str) -> Response:
    """Text frames ``{type, …job, timestamp}``, until the job is finished."""
    try:
        headers = websocket.accept(request.environ)
    except ValueError as error:
        raise ValidationFailed({"Upgrade": [str(error)]}) from None
    return HijackResponse(_conversation(job_id), 101, headers)


def _conversation(job_id: str) -> Hijack:
    since = known_version()
    try:
        if refusal := g.get("refusal"):
            raise refusal
        live = live_updates()
        opened, job = live.open(parsing.job_id(job_id), Form.WEBSOCKET, user=g.caller.user)
    except LonghaulError as error:
        # A browser tells its page nothing of a refused handshake, but the code of a close.
        code = CLOSE_CODES.get(type(error), websocket.TRY_LATER)
        return Hijack(partial(_refuse, code), _nothing)

    def start(connection: _socket.socket, head: bytes) -> None:
        live.start(opened, connection, head, since, job)

    return Hijack(start, partial(live.abandon, opened))


def _refuse(code: int, connection: _socket.socket, head: bytes) -> None:
    connection.sendall(head + websocket.close(code))
    connection.close()


def _nothing() -> None:
    """A refused WebSocket leaves nothing behind."""
