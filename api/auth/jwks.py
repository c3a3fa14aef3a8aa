"""The issuer's public keys, by a JWKS URL (RFC 7517): cached, bounded, ready for rotation."""

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

if TYPE_CHECKING:
    from collections.abc import Iterable

ALGORITHMS: Final = ("RS256", "ES256")
#: Seconds that keys are believed, and that they may be served for when the issuer is away.
FRESH: Final = 600.0
#: Seconds between two fetches, whatever key ids strangers make up.
COOLDOWN: Final = 10.0
#: Seconds that one fetch may take, and bytes that it may bring.
TIMEOUT: Final = 1.5
LARGEST: Final = 262_144

log = structlog.get_logger(__name__)


class RemoteKeys:
    """Keys by id. Fetched when first needed, when old, and when an unknown id shows up."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT), retries=False, num_pools=1, maxsize=1
        )
        self._lock = threading.Lock()
        self._keys: Mapping[str | None, PyJWK] | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None

    def find(self, key_id: str | None) -> PyJWK | None:
        """Raises ``BackendUnavailable`` while no keys could be fetched at all."""
        if self._keys is None or self._clock() - self._fetched_at > FRESH:
            self._refresh()
        key = self._lookup(key_id)
        if key is None and self._refresh():
            key = self._lookup(key_id)
        return key

    def _lookup(self, key_id: str | None) -> PyJWK | None:
        if self._keys is None:
            raise BackendUnavailable("Tokens cannot be checked now", retry_after=COOLDOWN)
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _refresh(self) -> bool:
        """Whether new keys came. One caller fetches."""
        # Those who have keys, if old ones, need not wait.
        if not self._lock.acquire(blocking=self._keys is None):
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
            self._keys = dict(_usable(self._fetch()))
        except (HTTPError, ValueError, OSError) as error:
            log.warning("the keys of the token issuer cannot be fetched", error=repr(error))
            return False
        self._fetched_at = self._clock()
        return True

    def _fetch(self) -> list[Any]:
        """Raises ``ValueError`` for an answer that is no key set."""
        deadline = time.monotonic() + TIMEOUT
        answer = self._http.request("GET", self._url, preload_content=False, redirect=False)
        try:
            body = bytearray()
            # The client's timeout counts silence; a source that trickles needs a deadline.
            for piece in answer.stream(16_384):
                body += piece
                if len(body) > LARGEST or time.monotonic() > deadline:
                    raise ValueError("the key set is too large or too slow")
        finally:
            answer.close()
        found = orjson.loads(body) if answer.status == 200 else None
        if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
            raise ValueError(f"no key set, but status {answer.status}")  # noqa: TRY004
        return list(found["keys"])


def _usable(keys: Iterable[Any]) -> Iterable[tuple[str | None, PyJWK]]:
    """The public keys for signatures by algorithms that we take; the rest is not for us."""
    for data in keys:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig":
            continue
        if data.get("kty") not in ("RSA", "EC"):
            continue
        try:
            key = PyJWK(data)
        except PyJWTError:
            continue
        if key.algorithm_name in ALGORITHMS:
            yield data.get("kid"), key
