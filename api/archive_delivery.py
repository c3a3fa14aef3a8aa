"""How clients get archives: from the object storage, or through nginx; see docs/delivery.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from flask import Response, request

from api.errors import ArchiveDeliveryUnavailable

if TYPE_CHECKING:
    from common.jobs.model import Job
    from common.jobs.presenter import JobPresenter
    from common.object_storage import ObjectStorage

#: The header in which nginx names the host of the object storage that it delivers from.
STORAGE_HOST: Final = "X-Storage-Host"
#: nginx's internal location; what follows the question mark is sent to the object storage.
INTERNAL_LOCATION: Final = "/.storage?"
#: Seconds for which a link for nginx is valid. nginx uses it immediately, but the clocks of the
#: API and of the object storage may differ by some minutes.
SIGNED_FOR: Final = 600

#: A range that does not begin with the first byte (RFC 9110, 14.1.1 and 14.1.2).
_LATER_RANGE: Final = re.compile(r"bytes=\s*(?:0*[1-9][0-9]*-|-[0-9])", re.IGNORECASE)

log = structlog.get_logger(__name__)


class ArchiveDelivery(Protocol):
    """How clients get archives."""

    def link(self, job: Job) -> tuple[str | None, str | None]:
        """Return a URL of the job's archive and its expiry, or two Nones if there is none."""

    def response(self, job: Job, *, file_name: str | None = None) -> Response | None:
        """Return the response that gives the archive to the client, or None if there is none.

        ``file_name``: the name that the archive is saved under; None: its own.
        """

    def continues_download(self) -> bool:
        """Return whether the request is for the rest of an archive, as after an interruption."""


class RedirectDelivery:
    """Redirects clients to a newly signed URL of the object storage, which they have to reach."""

    def __init__(self, presenter: JobPresenter) -> None:
        self._presenter = presenter

    def link(self, job: Job) -> tuple[str | None, str | None]:
        return self._presenter.signed_link(job)

    def response(self, job: Job, *, file_name: str | None = None) -> Response | None:
        url, _ = self._presenter.signed_link(job, file_name=file_name)
        if url is None:
            return None
        response = Response(status=302)
        response.location = url
        response.autocorrect_location_header = False
        return response

    def continues_download(self) -> bool:
        # Clients continue at the object storage.
        return False


class NginxDelivery:
    """Lets the nginx in front fetch the archive, so that the object storage can be private."""

    def __init__(
        self, presenter: JobPresenter, storage: ObjectStorage, *, trusts_proxy: bool
    ) -> None:
        """``trusts_proxy``: all requests come through a proxy that replaces forged headers."""
        self._presenter = presenter
        self._storage = storage
        self._trusts_proxy = trusts_proxy

    def link(self, job: Job) -> tuple[str | None, str | None]:
        return self._presenter.link(job)

    def response(self, job: Job, *, file_name: str | None = None) -> Response | None:
        """Raise ``ArchiveDeliveryUnavailable`` if there is no nginx that can fetch the archive."""
        artifact = job.artifact
        if artifact is None or self._presenter.link(job)[0] is None:
            return None
        url = self._storage.presign_for_proxy(
            "HEAD" if request.method == "HEAD" else "GET",
            artifact.bucket,
            artifact.key,
            filename=file_name or artifact.name,
            content_type=artifact.content_type,
            expires_in=SIGNED_FOR,
        )
        base, _, target = url.partition("://")[2].partition("/")
        self._require_nginx(base)
        response = Response(status=200, headers={"X-Accel-Redirect": INTERNAL_LOCATION + target})
        # nginx would prefer it to that of the object storage, and of its own errors.
        del response.headers["Content-Type"]
        return response

    def continues_download(self) -> bool:
        return _LATER_RANGE.match(request.headers.get("Range", "")) is not None

    def _require_nginx(self, host: str) -> None:
        delivers_from = request.headers.get(STORAGE_HOST, "")
        if not self._trusts_proxy or not delivers_from:
            raise ArchiveDeliveryUnavailable
        if delivers_from != host:
            log.error("STORAGE_URL of nginx is wrong", host=delivers_from, signed_for=host)
            raise ArchiveDeliveryUnavailable
