"""Logs, metrics, traces and error reports, all without secrets."""
