"""AUTHORIZE_URL: an HTTP service decides which files a user may have.

Without a valid response within two seconds, all files are denied, as Envoy's ext_authz and nginx's
auth_request do by default.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from common.errors import BackendUnavailable
from common.http_connection import pool_manager
from common.time_limit import call_within
from common.webhook_signing import signers

#: Seconds that a request may take in total, including the wait for a free slot.
TIMEOUT: Final = 2.0
#: A service may close an idle connection just when it is used again.
RETRY: Final = urllib3.Retry(1, connect=0, redirect=0, status=0, other=0, allowed_methods=None)
#: Concurrent requests of one process.
MAX_REQUESTS: Final = 64
#: Bytes of a response. A thousand IDs take 12,000.
MAX_RESPONSE: Final = 262_144
#: Decisions that a process remembers, about 250 bytes each.
MAX_CACHED: Final = 50_000
#: Seconds after which clients should try again if there is no decision.
RETRY_AFTER: Final = 2.0

log = structlog.get_logger(__name__)

#: What a decision is about: the user, the digest of the user's claims, and the file.
_Key = tuple[str, bytes, int]


class InvalidDecision(ValueError):
    """The response of the service is not a decision."""


class AuthorizationService:
    """Asks the service in one signed request, and remembers its decisions for some seconds."""

    allows_everything = False
    is_revocable = True

    def __init__(
        self,
        url: str,
        *,
        secret: str,
        cache_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``secret``: ``whsec_…``, as for webhooks; several, separated by spaces, all sign.

        Raise ``ValueError`` if it is malformed.
        """
        self._url = url
        self._signers = signers(secret)
        self._cache = _Cache(cache_seconds, clock)
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._http = pool_manager(
            timeout=urllib3.Timeout(total=TIMEOUT), retries=False, num_pools=1, maxsize=MAX_REQUESTS
        )

    def select_claims(self, claims: Mapping[str, Any]) -> str:
        """Return all claims: the service knows best which it needs."""
        return json.dumps(claims, separators=(",", ":"), sort_keys=True)

    def denied(self, user: str, claims: str, file_ids: Sequence[int]) -> frozenset[int]:
        digest = hashlib.sha256(claims.encode()).digest()
        decisions = {file_id: self._cache.get((user, digest, file_id)) for file_id in file_ids}
        unknown = [file_id for file_id, allowed in decisions.items() if allowed is None]
        if unknown:
            allowed_ids = self._ask(user, claims, unknown)
            for file_id in unknown:
                decisions[file_id] = file_id in allowed_ids
                self._cache.put((user, digest, file_id), file_id in allowed_ids)
        return frozenset(file_id for file_id, allowed in decisions.items() if not allowed)

    def _ask(self, user: str, claims: str, file_ids: Sequence[int]) -> frozenset[int]:
        """Return the files that the service allows. Raise ``BackendUnavailable``."""
        body = json.dumps({"user": user, "claims": json.loads(claims), "file_ids": file_ids})
        try:
            return call_within(TIMEOUT, lambda deadline: self._post(body, deadline), self._slots)
        except (HTTPError, OSError, ValueError) as error:
            log.warning("no decision of the authorization service", error=repr(error))
            raise BackendUnavailable(
                "Your permission for these files cannot be checked right now. Try again later.",
                retry_after=RETRY_AFTER,
            ) from error

    def _post(self, body: str, deadline: float) -> frozenset[int]:
        response = self._http.request(
            "POST",
            self._url,
            body=body.encode(),
            headers=self._headers(body),
            retries=RETRY,
            preload_content=False,
            redirect=False,
        )
        try:
            content = _read(response, deadline)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return parse_decision(content)

    def _headers(self, body: str) -> dict[str, str]:
        message_id, now = f"authorize_{secrets.token_hex(16)}", datetime.now(UTC)
        signatures = [signer.sign(message_id, now, body) for signer in self._signers]
        return {
            "Content-Type": "application/json",
            "User-Agent": "Longhaul",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    if response.status != 200:
        raise InvalidDecision(f"status {response.status}")
    content = bytearray()
    for chunk in response.stream(16_384):
        content += chunk
        if len(content) > MAX_RESPONSE or time.monotonic() > deadline:
            raise InvalidDecision("the response is too large or too slow")
    return bytes(content)


def parse_decision(content: bytes) -> frozenset[int]:
    """Return the allowed files. A file that is also denied is not allowed.

    Raise ``InvalidDecision`` for anything but ``{"allowed": [id…], "denied": [id…]}``.
    """
    try:
        decision = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidDecision("the response is not JSON") from error
    if not isinstance(decision, dict) or "allowed" not in decision:
        raise InvalidDecision("the response does not list the allowed files")
    return _ids(decision["allowed"]) - _ids(decision.get("denied", []))


def _ids(value: Any) -> frozenset[int]:
    # True is an int for Python, and equal to 1.
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise InvalidDecision("a list of files contains something else than IDs")
    return frozenset(value)


class _Cache:
    """Decisions and when they expire. The oldest are dropped first."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._decisions: dict[_Key, tuple[bool, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: _Key) -> bool | None:
        found = self._decisions.get(key)
        return found[0] if found is not None and self._clock() < found[1] else None

    def put(self, key: _Key, allowed: bool) -> None:
        with self._lock:
            self._decisions.pop(key, None)
            while self._decisions:
                oldest = next(iter(self._decisions))
                if len(self._decisions) < MAX_CACHED and self.get(oldest) is not None:
                    break
                del self._decisions[oldest]
            self._decisions[key] = allowed, self._clock() + self._seconds
