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
    ResponseSpec(status=200, description="All required checks passed", schema=HealthSchema),
    ResponseSpec(status=503, description="A required check failed", schema=HealthSchema),
)


@blueprint.route("/health/ready", endpoint="ready")
@blueprint.route("/health", endpoint="health")
@blueprint.doc(**_REPORT)
def health() -> Response:
    """Checks the API's dependencies, within a second."""
    health = deps().health
    checks = health.report()
    healthy = health.is_healthy(checks)
    body: dict[str, object] = {"status": "healthy" if healthy else "unhealthy", "checks": checks}
    if checks["redis"] == "ok" and (capabilities := health.storage_capabilities()):
        body["storage"] = capabilities
    return json_response(body, 200 if healthy else 503)


@blueprint.route("/health/live")
@blueprint.doc(
    **operation(ResponseSpec(status=200, description="The process is alive", schema=AliveSchema))
)
def live() -> Response:
    """Check that the process serves requests, without contacting any dependency."""
    return json_response({"status": "alive"})
