"""The public keys of a token issuer, fetched from a JWKS URL (RFC 7517) and cached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
import urllib3
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from urllib3.exceptions import HTTPError

from common.errors import BackendUnavailable
from common.http_connection import pool_manager
from common.time_limit import call_within

if TYPE_CHECKING:
    from collections.abc import Iterable

ALGORITHMS: Final = ("RS256", "ES256")
#: Seconds after which the keys are fetched again. While that fails, the old keys stay in use.
MAX_AGE: Final = 600.0
#: Minimum of seconds between fetches, so that tokens with unknown key IDs cannot cause many.
COOLDOWN: Final = 10.0
#: Limits of a fetch: seconds and bytes.
TIMEOUT: Final = 1.5
MAX_SIZE: Final = 262_144

log = structlog.get_logger(__name__)


class RemoteKeys:
    """Keys by ID. They are fetched when first needed, when they expire, and for unknown IDs."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._http = pool_manager(
            timeout=urllib3.Timeout(total=TIMEOUT), retries=False, num_pools=1, maxsize=1
        )
        self._lock = threading.Lock()
        #: Fetches that may hang at the same time.
        self._slots = threading.BoundedSemaphore(2)
        self._keys: Mapping[str | None, PyJWK] | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None

    def find(self, key_id: str | None) -> PyJWK | None:
        """Return the key with this ID, if any. Raise ``BackendUnavailable`` without any keys."""
        if self._keys is None or self._clock() - self._fetched_at > MAX_AGE:
            self._refresh()
        key = self._lookup(key_id)
        if key is None and self._refresh():
            key = self._lookup(key_id)
        return key

    def _lookup(self, key_id: str | None) -> PyJWK | None:
        if self._keys is None:
            raise BackendUnavailable(
                "Tokens cannot be verified right now. Try again later.", retry_after=COOLDOWN
            )
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _refresh(self) -> bool:
        """Fetch the keys, unless another thread does. Return whether there are new keys."""
        # Requests wait only if there are no keys yet; old keys are good enough.
        if not self._lock.acquire(timeout=TIMEOUT if self._keys is None else 0):
            return False
        try:
            return self._try_to_fetch()
        finally:
            self._lock.release()

    def _try_to_fetch(self) -> bool:
        if self._tried_at is not None and self._clock() - self._tried_at < COOLDOWN:
            return False
        self._tried_at = self._clock()
        try:
            self._keys = dict(_usable(call_within(TIMEOUT, self._fetch, self._slots)))
        except (HTTPError, ValueError, OSError) as error:
            log.warning("cannot fetch the keys of the token issuer", error=repr(error))
            return False
        self._fetched_at = self._clock()
        return True

    def _fetch(self, deadline: float) -> list[Any]:
        """Return the fetched keys. Raise ``ValueError`` if the response is not a key set."""
        response = self._http.request("GET", self._url, preload_content=False, redirect=False)
        try:
            body = bytearray()
            # The timeout of the client is for each read; a slow response needs a deadline.
            for chunk in response.stream(16_384):
                body += chunk
                if len(body) > MAX_SIZE or time.monotonic() > deadline:
                    raise ValueError("the key set is too large or too slow")
        finally:
            response.close()
        key_set = orjson.loads(body) if response.status == 200 else None
        if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
            raise ValueError(f"the response is not a key set (status {response.status})")  # noqa: TRY004
        return list(key_set["keys"])


def _usable(keys: Iterable[Any]) -> Iterable[tuple[str | None, PyJWK]]:
    """Yield ID and key of the public signature keys with a supported algorithm."""
    for data in keys:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig":
            continue
        if data.get("kty") not in ("RSA", "EC"):
            continue
        if not isinstance(data.get("kid"), str | None):
            continue
        try:
            key = PyJWK(data)
        except PyJWTError:
            continue
        if key.algorithm_name in ALGORITHMS:
            yield data.get("kid"), key
