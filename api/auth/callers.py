"""Identifies the caller of a request."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from api.errors import Forbidden, ValidationFailed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ANONYMOUS: Final = "anonymous"
USER_PATTERN: Final = r"^[A-Za-z0-9._@:+=/|~-]{1,128}$"

#: The prefix of user keys that stand for names which are not valid user IDs.
_DIGEST_PREFIX: Final = "sha256:"
_USER_ID = re.compile(USER_PATTERN[:-1] + r"\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who sent a request. ``admin``: the user is an operator."""

    user: str
    admin: bool = False
    #: The claims of their token that decide about files, as JSON; None if they sent no token.
    claims: str | None = None
    #: The plan that their token names.
    plan: str | None = None
    #: Their address, if their token contains it.
    email: str | None = None


class Authenticator(Protocol):
    """Identifies the caller of a request by its headers."""

    @property
    def jobs_are_private(self) -> bool:
        """Whether only its creator and operators have access to a job.

        Otherwise, anyone who knows the ID of the job has.
        """

    def identify(self, environ: WSGIEnvironment) -> Caller:
        """Return the caller. Raise an error if the headers do not identify one."""

    def confirm(self, caller: Caller, user: str, environ: WSGIEnvironment) -> Caller:
        """Return the caller of a request whose body names a user.

        Raise ``Forbidden`` if the headers identify another one.
        """


class HeaderAuthenticator:
    """AUTH_MODE=none: the caller is taken from ``X-User-Id``, for limits and lists only.

    The header is not proof of identity, so no caller is an operator; see ``api/auth/operators.py``.
    """

    jobs_are_private = False

    def identify(self, environ: WSGIEnvironment) -> Caller:
        """Return the caller. Raise ``ValidationFailed`` if the user ID is not valid."""
        user = environ.get("HTTP_X_USER_ID")
        if user is None:
            return Caller(ANONYMOUS)
        return _caller(user, "X-User-Id")

    def confirm(self, caller: Caller, user: str, environ: WSGIEnvironment) -> Caller:
        """Return the caller. Raise ``Forbidden`` and ``ValidationFailed``.

        The header takes precedence: a gateway in front of the API may set it.
        """
        if "HTTP_X_USER_ID" in environ and user != caller.user:
            raise Forbidden("user_id and the header X-User-Id name different users.")
        return _caller(user, "user_id")


@lru_cache(maxsize=4096)
def _caller(user: str, member: str) -> Caller:
    if not is_user_id(user):
        rule = "Must be 1 to 128 letters, digits, and the characters . _ @ : + = / | ~ -"
        raise ValidationFailed({member: [rule]})
    return Caller(user)


def is_user_id(name: str) -> bool:
    """Return whether ``name`` is a valid user ID."""
    return _USER_ID.match(name) is not None


def user_key(subject: str) -> str:
    """Return the user ID for the subject of a token, which may be any string (RFC 7519, 4.1.2).

    It is the subject itself where that is a user ID, and a digest otherwise. Subjects are compared
    as they are: two that differ only in case or normalization are two users. A subject that looks
    like a digest is digested as well, so nobody can choose one to become another user.
    """
    if is_user_id(subject) and not subject.startswith(_DIGEST_PREFIX):
        return subject
    # JSON may contain a lone surrogate.
    digest = hashlib.sha256(subject.encode(errors="surrogatepass")).hexdigest()
    return f"{_DIGEST_PREFIX}{digest}"
