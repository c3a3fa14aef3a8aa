"""The Celery tasks: functions of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.celery_app import DOWNLOAD_TASK
from common.jobs.model import WakeUp

if TYPE_CHECKING:
    from celery import Celery

    from worker.attempt.runner import AttemptRunner


def register(app: Celery, runner: AttemptRunner) -> None:
    """Register the tasks of this process with the app."""

    @app.task(name=DOWNLOAD_TASK)
    def download(job_id: str, priority: str, sent: str, *_: object) -> None:
        # A newer release may send further arguments.
        runner.run_download(WakeUp(job_id=job_id, priority=priority, sent=int(sent)))
