"""Decides who is an operator.

An operator is a caller whose credentials say so (``Caller.admin``), or who sends the operators'
token (ADMIN_TOKEN). Where a request comes from proves nothing: behind a proxy on the same machine,
every client seems to be local.
"""

from __future__ import annotations

import hmac

from flask import g, request

from api.admin.operator_actions import Operator
from api.errors import Forbidden
from common.job_store.jobs import OPERATOR, Requester


def current_operator() -> Operator:
    """Return who sends this request, which must be from an operator."""
    return Operator(
        subject=g.caller.user if g.caller.admin else "",
        request_id=g.request_id,
    )


class Operators:
    """Checks whether requests come from an operator."""

    def __init__(self, *, token: str) -> None:
        """With an empty ``token``, only credentials make a caller an operator."""
        self._token = token.encode()

    def require(self) -> None:
        """Raise ``Forbidden`` unless the request is from an operator."""
        if not (g.caller.admin or self._has_token()):
            raise Forbidden("This endpoint is for operators only.")

    def requester(self) -> Requester:
        """Return who asks for a change of a job, by a call that is open to users too."""
        if self._has_token():
            return OPERATOR
        return Requester(user=g.caller.user, is_operator=g.caller.admin)

    def _has_token(self) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return (
            bool(self._token)
            and scheme.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode(), self._token)
        )
