"""Tells callers' servers how their jobs ended, by Standard Webhooks."""

from worker.webhooks.delivery import Courier
from worker.webhooks.post import Poster
from worker.webhooks.thread import WebhookThread

__all__ = ["Courier", "Poster", "WebhookThread"]
