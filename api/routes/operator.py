"""What operators look at."""

from __future__ import annotations

from contextlib import suppress

from flask import Response
from flask_smorest import Blueprint
from redis.exceptions import RedisError

from api import metrics
from api.answers import json_answer
from api.context import here
from api.openapi import Answer, operation
from api.schemas.answers import StatisticsSchema

blueprint = Blueprint("operator", __name__, description="How the service fares")


@blueprint.route("/v1/download/queue/stats")
@blueprint.doc(
    **operation(Answer(status=200, meaning="The queue at this moment", schema=StatisticsSchema))
)
def queue_statistics() -> Response:
    """How many jobs wait, run and have ended, and how long they take."""
    return json_answer(here().overview.statistics())


@blueprint.route("/metrics")
@blueprint.doc(
    **operation(Answer(status=200, meaning="Prometheus's text format", media=metrics.MEDIA_TYPE))
)
def prometheus() -> Response:
    """Figures for Prometheus."""
    figures = metrics.exposition(here().figures)
    with suppress(RedisError):
        figures += metrics.archives(here().archive_totals.read())
    return Response(figures, content_type=metrics.CONTENT_TYPE)
