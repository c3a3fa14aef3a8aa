"""Is it alive, is it ready, is all that it stands on well."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_answer
from api.schemas.responses import AliveSchema, HealthSchema

blueprint = Blueprint("health", __name__, description="For probes and balancers")

_REPORT = operation(
    ResponseSpec(status=200, meaning="All is well", schema=HealthSchema),
    ResponseSpec(status=503, meaning="Something does not answer", schema=HealthSchema),
)


@blueprint.route("/health/ready", endpoint="ready")
@blueprint.route("/health", endpoint="health")
@blueprint.doc(**_REPORT)
def everything() -> Response:
    """Whether the service can do its work: everything it needs is asked, within a second."""
    health = deps().health
    checks = health.report()
    well = health.is_well(checks)
    status = "healthy" if well else "unhealthy"
    body: dict[str, object] = {"status": status, "checks": checks}
    if checks["redis"] == "ok" and (findings := health.storage_findings()):
        body["storage"] = findings
    return json_answer(body, 200 if well else 503)


@blueprint.route("/health/live")
@blueprint.doc(**operation(ResponseSpec(status=200, meaning="It is", schema=AliveSchema)))
def live() -> Response:
    """Whether the process serves requests; nothing outside of it is touched."""
    return json_answer({"status": "alive"})
