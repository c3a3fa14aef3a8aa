"""Webhooks: posts the terminal state of a job to its callback URL, by Standard Webhooks."""

from worker.webhooks.http_poster import WebhookPoster
from worker.webhooks.sender import WebhookSender
from worker.webhooks.thread import WebhookThread

__all__ = ["WebhookPoster", "WebhookSender", "WebhookThread"]
