"""The job store: the only Redis code besides Celery's own."""
