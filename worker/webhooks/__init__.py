"""Tells callers' servers how their jobs ended, by Standard Webhooks."""

from worker.webhooks.http_poster import Poster
from worker.webhooks.sender import WebhookSender
from worker.webhooks.thread import WebhookThread

__all__ = ["Poster", "WebhookSender", "WebhookThread"]
