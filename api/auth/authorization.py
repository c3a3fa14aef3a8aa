"""Who may do what: the caller of each request, and whose the job is that the path names."""

from __future__ import annotations

from typing import Final

from flask import g, request

from api import parsing
from api.auth.callers import Caller
from api.dependencies import deps
from api.errors import Forbidden, Unauthorized
from api.live import websocket
from common.errors import JobNotFound, LonghaulError

ADMIN_PATHS: Final = "/v1/admin/"
WEBSOCKET: Final = "websocket.web_socket"
#: Views that a browser calls without headers: their URL carries a ticket instead.
TICKETED: Final = frozenset({"events.subscribe", "events.stream", WEBSOCKET})

#: What a browser's page is told of a refused WebSocket, which sees no status of the handshake.
CLOSE_CODES: Final[dict[type[LonghaulError], int]] = {
    Unauthorized: websocket.UNAUTHORIZED,
    Forbidden: websocket.FORBIDDEN,
    JobNotFound: websocket.NOT_FOUND,
}


def admit() -> None:
    """Tell the caller (``g.caller``) and refuse what is not theirs.

    Raises ``Unauthorized``, ``Forbidden`` and ``JobNotFound``. A WebSocket is refused by its view,
    after the handshake, with the error in ``g.websocket_rejection``.
    """
    try:
        g.caller = _ticket_holder() or deps().authenticator.identify(request.headers)
        _check_operator()
        _check_owner()
    except (Unauthorized, Forbidden, JobNotFound) as refusal:
        if request.endpoint != WEBSOCKET:
            raise
        g.websocket_rejection = refusal


def _ticket_holder() -> Caller | None:
    ticket = request.args.get("ticket")
    if not ticket or request.endpoint not in TICKETED:
        return None
    user = deps().stream_tickets.holder(ticket, _job_id() or "")
    return Caller(user) if user else None


def _check_operator() -> None:
    rule = request.url_rule
    if rule is not None and rule.rule.startswith(ADMIN_PATHS):
        deps().operators.require()


def _check_owner() -> None:
    context, job_id = deps(), _job_id()
    if job_id is None or g.caller.admin or not context.authenticator.jobs_are_private:
        return
    if context.queries.owner(job_id) != g.caller.user:
        raise Forbidden("This job is another's")


def _job_id() -> str | None:
    """Raises ``JobNotFound`` where the path names a job by what is no id."""
    named = (request.view_args or {}).get("job_id")
    return None if named is None else parsing.job_id(named)
