"""Who calls."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from werkzeug.datastructures import Headers

from api.errors import ValidationFailed

ANONYMOUS: Final = "anonymous"
USER_PATTERN: Final = r"^[A-Za-z0-9._@:+=/|~-]{1,128}$"

_USER = re.compile(USER_PATTERN[:-1] + r"\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent the request. ``admin`` may use the operator's calls."""

    user: str
    admin: bool = False


class Authenticator(Protocol):
    """Tells the caller of a request by its headers."""

    @property
    def jobs_are_private(self) -> bool:
        """Whether a job is its creator's and the operators' only, not everybody's who knows it."""

    def identify(self, headers: Headers) -> Caller:
        """The caller. Raises one of ``common.errors`` when the headers are not acceptable."""


class HeaderAuthenticator:
    """AUTH_MODE=none: the caller is whoever ``X-User-Id`` says, for limits and lists only.

    Nobody is an operator by a name that anybody may give; see ``api/auth/operators.py``.
    """

    jobs_are_private = False

    def identify(self, headers: Headers) -> Caller:
        """Raises ``ValidationFailed`` for a name that is too long or has unusual characters."""
        user = headers.get("X-User-Id")
        if user is None:
            return Caller(ANONYMOUS)
        if not is_user_id(user):
            raise ValidationFailed(
                {"X-User-Id": ["1 to 128 letters, digits and any of . _ @ : + = / | ~ -"]}
            )
        return Caller(user)


def is_user_id(name: str) -> bool:
    """Whether this may be a user's name."""
    return _USER.match(name) is not None
