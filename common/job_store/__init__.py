"""The job store: all Redis code except Celery's own."""
