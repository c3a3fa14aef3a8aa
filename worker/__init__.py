"""The Celery worker: it builds the archives."""
