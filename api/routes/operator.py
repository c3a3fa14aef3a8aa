"""What operators look at."""

from __future__ import annotations

from contextlib import suppress

from flask import Response
from flask_smorest import Blueprint
from redis.exceptions import RedisError

from api import metrics
from api.dependencies import deps
from api.openapi import ResponseSpec, operation
from api.responses import json_answer
from api.schemas.responses import StatisticsSchema

blueprint = Blueprint("operator", __name__, description="How the service fares")


@blueprint.route("/v1/download/queue/stats")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="The queue at this moment", schema=StatisticsSchema)
    )
)
def queue_statistics() -> Response:
    """How many jobs wait, run and have ended, and how long they take."""
    return json_answer(deps().overview.statistics())


@blueprint.route("/metrics")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, meaning="Prometheus's text format", media=metrics.MEDIA_TYPE)
    )
)
def prometheus() -> Response:
    """Figures for Prometheus."""
    figures = metrics.exposition(deps().figures)
    with suppress(RedisError):
        figures += metrics.archives(deps().archive_totals.read())
    return Response(figures, content_type=metrics.CONTENT_TYPE)
