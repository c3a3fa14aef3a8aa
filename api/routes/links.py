"""Durable links: create, list and revoke them, and download by them."""

from __future__ import annotations

import ipaddress
from typing import Any

from flask import Response, g, request
from flask_smorest import Blueprint

from api import parsing
from api.auth.callers import Caller
from api.dependencies import deps
from api.errors import FilesForbidden, Forbidden
from api.job_results import no_archive
from api.openapi import ResponseSpec, operation
from api.request_hooks import client_address
from api.responses import base_url, json_response, no_content
from api.schemas.links import LINK_REQUEST, LinkSchema, LinksSchema
from common.errors import LinkGone
from common.job_store.download_links import DownloadLink
from common.jobs.presenter import iso

blueprint = Blueprint("links", __name__, description="Durable links to archives")


@blueprint.route("/v1/download/<job:job_id>/links", methods=["POST"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=201, description="The link", schema=LinkSchema, headers=("Location",)),
        body=LINK_REQUEST,
        errors=(403, 404, 409, 410),
    )
)
def create(job_id: str) -> Response:
    """Create a link to the archive of a completed job.

    Anyone who has the link can download the archive, without a token. The response is the only one
    that contains the link's URL.
    """
    dependencies = deps()
    body = parsing.body(LINK_REQUEST)
    job = dependencies.queries.get(parsing.job_id(job_id))
    if dependencies.archive_delivery.link(job)[0] is None:
        raise no_archive(job)
    dependencies.file_access.require_download(g.caller, job)
    token, link = dependencies.download_links.create(
        job.id,
        job.user,
        expires_in=body["expiresIn"],
        max_uses=body["maxUses"],
        ip=body["ip"],
        file_name=body["fileName"],
    )
    url = f"{base_url()}/d/{token}"
    return json_response(_link(link, url), 201, {"Location": url})


@blueprint.route("/v1/download/<job:job_id>/links")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The job's links", schema=LinksSchema), errors=(404,)
    )
)
def list_links(job_id: str) -> Response:
    """List the links of a job with the number of downloads, also expired and revoked ones."""
    dependencies = deps()
    job = dependencies.queries.get(parsing.job_id(job_id))
    links = dependencies.download_links.of_job(job.id)
    return json_response({"jobId": job.id, "links": [_link(link) for link in links]})


@blueprint.route("/v1/download/<job:job_id>/links/<link_id>", methods=["DELETE"])
@blueprint.doc(
    **operation(
        ResponseSpec(status=204, description="The link is revoked"),
        errors=(404,),
    )
)
def revoke(job_id: str, link_id: str) -> Response:
    """Revoke a link. Downloads in progress continue."""
    deps().download_links.revoke(parsing.job_id(job_id), link_id)
    return no_content()


@blueprint.route("/d/<token>")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="The archive, with DELIVERY=proxy"),
        ResponseSpec(
            status=302, description="Redirect to a newly signed URL", headers=("Location",)
        ),
        errors=(403, 404, 410, 429, 501, 503),
    )
)
def redeem(token: str) -> Response:
    """Download the archive by a link. Further requests from the same address within a minute count
    as the same download."""
    dependencies = deps()
    links = dependencies.download_links
    link = links.find(token)
    _check_address(link)
    job = dependencies.queries.get(link.job_id)
    response = dependencies.archive_delivery.response(job, file_name=link.file_name)
    if response is None:
        raise LinkGone  # Without the job: the link gives access to the archive only.
    try:
        # Not by a token that the request may have: the link stands for its job's user.
        dependencies.file_access.require_download(Caller(link.user), job)
    except FilesForbidden:
        raise Forbidden(
            "The person who created this link no longer has access to these files."
        ) from None
    links.redeem(
        link,
        client_address(),
        only_check=request.method == "HEAD",
        continues=dependencies.archive_delivery.continues_download(),
    )
    return response


def _check_address(link: DownloadLink) -> None:
    if link.ip is None:
        return
    try:
        address = ipaddress.ip_address(client_address())
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address is None or address not in ipaddress.ip_network(link.ip, strict=False):
        raise Forbidden("This link cannot be used from your network.")


def _link(link: DownloadLink, url: str | None = None) -> dict[str, Any]:
    return {
        "linkId": link.id,
        "url": url,
        "createdAt": iso(link.created_at),
        "expiresAt": iso(link.expires_at),
        "uses": link.uses,
        "maxUses": link.max_uses,
        "ip": link.ip,
        "fileName": link.file_name,
        "lastUsedAt": iso(link.last_used_at),
        "revokedAt": iso(link.revoked_at),
    }
