"""Authorizes requests: identifies the caller and checks access to the job in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import g, request

from api import metrics, parsing
from api.auth.callers import Caller
from api.auth.operators import current_operator
from api.dependencies import deps
from api.errors import FilesForbidden, Forbidden, Unauthorized
from common.errors import JobNotFound

if TYPE_CHECKING:
    from common.jobs.model import Job

#: Beginnings of the paths that only operators may call.
ADMIN_PATHS: Final = ("/v1/admin/", metrics.PATH)
WEBSOCKET: Final = "websocket.web_socket"
#: Views that browsers call without headers. Their URL carries a ticket instead.
TICKETED: Final = frozenset({"events.subscribe", "events.stream", "jobs.result", WEBSOCKET})


def applies_to(path: str) -> bool:
    """Return whether requests for ``path`` are authorized; the other paths are public."""
    return path.startswith("/v1/") or path == metrics.PATH


def authorize_request() -> None:
    """Identify the caller (``g.caller``) and check that they may send this request.

    Raises ``Unauthorized``, ``Forbidden``, ``FilesForbidden`` and ``JobNotFound``. For a WebSocket,
    the error is stored in ``g.websocket_rejection`` instead; its view rejects it after the
    handshake.
    """
    try:
        g.caller = _ticket_holder() or deps().authenticator.identify(request.environ)
        _check_operator()
        _check_owner()
    except (Unauthorized, Forbidden, FilesForbidden, JobNotFound) as error:
        if request.endpoint != WEBSOCKET:
            raise
        g.websocket_rejection = error


def confirm_caller(user_id: str | None) -> None:
    """Let ``g.caller`` be the user whom the body names, if any. Raise ``Forbidden`` for others."""
    if user_id is not None:
        g.caller = deps().authenticator.confirm(g.caller, user_id, request.environ)


def record_if_operator(action: str, job: Job) -> None:
    """Add what an operator did to another user's job to the audit log."""
    requester = deps().operators.requester()
    if requester.is_operator and requester.user != job.user:
        deps().operator_actions.record(
            action, current_operator(), matched=1, changed=1, job_ids=[job.id]
        )


def _ticket_holder() -> Caller | None:
    ticket = request.args.get("ticket")
    if not ticket or request.endpoint not in TICKETED:
        return None
    user = deps().job_tickets.holder(ticket, _job_id() or "")
    return Caller(user) if user else None


def _check_operator() -> None:
    rule = request.url_rule
    if rule is not None and rule.rule.startswith(ADMIN_PATHS):
        deps().operators.require()


def _check_owner() -> None:
    dependencies, job_id = deps(), _job_id()
    if job_id is None or g.caller.admin or not dependencies.authenticator.jobs_are_private:
        return
    if dependencies.queries.owner(job_id) != g.caller.user:
        raise Forbidden("You don't have permission to access this job.")
    dependencies.file_access.require_by_token(g.caller, job_id)


def _job_id() -> str | None:
    """Return the job ID in the path, if any. Raise ``JobNotFound`` if it is malformed."""
    text = (request.view_args or {}).get("job_id")
    return None if text is None else parsing.job_id(text)
