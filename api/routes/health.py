"""Health checks for load balancers and container platforms."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_response
from api.schemas.responses import AliveSchema, HealthSchema

blueprint = Blueprint("health", __name__, description="Health checks")

_REPORT = operation(
    ResponseSpec(status=200, description="A job can be accepted", schema=HealthSchema),
    ResponseSpec(status=503, description="No job can be accepted", schema=HealthSchema),
)


@blueprint.route("/health/ready", endpoint="ready")
@blueprint.route("/health", endpoint="health")
@blueprint.doc(**_REPORT)
def health() -> Response:
    """Report whether a job can be accepted, and which dependencies are available.

    Only `redis` is required: while `storage` or `history` is unavailable, jobs are accepted and
    wait. Checks run at most once a second. Only the internal network has access.
    """
    report = deps().health.report()
    body: dict[str, object] = {
        "status": "healthy" if report.healthy else "unhealthy",
        "checks": report.checks,
    }
    if report.storage_capabilities:
        body["storage"] = report.storage_capabilities
    return json_response(body, 200 if report.healthy else 503)


@blueprint.route("/health/live")
@blueprint.doc(
    **operation(ResponseSpec(status=200, description="The process is alive", schema=AliveSchema))
)
def live() -> Response:
    """Check that the process serves requests, without contacting any dependency."""
    return json_response({"status": "alive"})
