from __future__ import annotations

from typing import Final

from api.routes import (
    deliveries,
    downloads,
    explorer,
    health,
    history,
    jobs,
    links,
    operators,
    pages,
    streams,
    usage,
    webhooks,
)

#: The blueprints that the OpenAPI document describes, in the order of its tags.
DOCUMENTED: Final = (
    downloads.blueprint,
    streams.blueprint,
    jobs.blueprint,
    usage.usage,
    links.blueprint,
    deliveries.blueprint,
    webhooks.blueprint,
    operators.service,
    operators.overviews,
    history.blueprint,
    explorer.blueprint,
    operators.admin,
    usage.users,
    health.blueprint,
    pages.blueprint,
)
