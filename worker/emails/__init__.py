"""Emails: tell users that a long job has ended."""

from worker.emails.deliverer import email_deliverer

__all__ = ["email_deliverer"]
