"""Identifies the caller of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from werkzeug.datastructures import Headers

from api.errors import ValidationFailed

ANONYMOUS: Final = "anonymous"
USER_PATTERN: Final = r"^[A-Za-z0-9._@:+=/|~-]{1,128}$"

_USER_ID = re.compile(USER_PATTERN[:-1] + r"\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who sent a request. ``admin``: the user is an operator."""

    user: str
    admin: bool = False


class Authenticator(Protocol):
    """Identifies the caller of a request by its headers."""

    @property
    def jobs_are_private(self) -> bool:
        """Whether only its creator and operators have access to a job.

        Otherwise, anyone who knows the ID of the job has.
        """

    def identify(self, headers: Headers) -> Caller:
        """Return the caller. Raise an error if the headers do not identify one."""


class HeaderAuthenticator:
    """AUTH_MODE=none: the caller is taken from ``X-User-Id``, for limits and lists only.

    The header is not proof of identity, so no caller is an operator; see ``api/auth/operators.py``.
    """

    jobs_are_private = False

    def identify(self, headers: Headers) -> Caller:
        """Return the caller. Raise ``ValidationFailed`` if the user ID is not valid."""
        user = headers.get("X-User-Id")
        if user is None:
            return Caller(ANONYMOUS)
        if not is_user_id(user):
            raise ValidationFailed(
                {
                    "X-User-Id": [
                        "Must be 1 to 128 letters, digits, and the characters . _ @ : + = / | ~ -"
                    ]
                }
            )
        return Caller(user)


def is_user_id(name: str) -> bool:
    """Return whether ``name`` is a valid user ID."""
    return _USER_ID.match(name) is not None
