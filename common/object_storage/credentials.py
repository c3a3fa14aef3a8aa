"""Finds the credentials for S3, as every AWS tool does, and notices when they change or expire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import botocore.session
import structlog

from common.object_storage.errors import CredentialsError

#: Seconds between two searches for credentials after one that failed, or after a rejection.
SEARCH_INTERVAL = 5.0

log = structlog.get_logger(__name__)


class Credentials(NamedTuple):
    """An access key and its secret, with a session token if they are temporary."""

    access_key: str
    secret_key: str
    token: str | None = None
    #: Seconds since the epoch; None if they do not expire, or if that is not known.
    expires_at: float | None = None


class CredentialChain:
    """The credentials of botocore's chain. Thread safe.

    botocore refreshes temporary credentials itself. It does not search again after it found none,
    as before a metadata service is reachable, nor read keys again that were replaced.
    """

    def __init__(self, search: Callable[[], Any] | None = None) -> None:
        """``search`` returns botocore's credentials, or None."""
        self._search = search or (lambda: botocore.session.Session().get_credentials())
        self._lock = threading.Lock()
        self._found: Any = None
        self._search_at = 0.0

    def __call__(self) -> Credentials:
        """Return valid credentials; raise CredentialsError if there are none."""
        found = self._found or self._find()
        try:
            frozen = found.get_frozen_credentials()
        except Exception as error:
            # botocore passes on whatever a provider raises: an error of STS, a missing file.
            raise CredentialsError(
                f"The credentials for the object storage could not be refreshed: {error}"
            ) from error
        expiry = getattr(found, "_expiry_time", None)
        return Credentials(
            frozen.access_key or "",
            frozen.secret_key or "",
            frozen.token,
            None if expiry is None else expiry.timestamp(),
        )

    def reload(self) -> None:
        """Search again at the next call, because the storage rejected the credentials."""
        with self._lock:
            if time.monotonic() >= self._search_at:
                self._found = None

    def _find(self) -> Any:
        with self._lock:
            if self._found is None and time.monotonic() >= self._search_at:
                self._search_at = time.monotonic() + SEARCH_INTERVAL
                try:
                    self._found = self._search()
                except Exception as error:  # noqa: BLE001  as above
                    log.warning("credentials not found", error=str(error))
            if self._found is None:
                raise CredentialsError(
                    "No credentials for the object storage were found: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, a profile, or a role for this machine"
                )
            return self._found
