"""What the broker's messages start: functions of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.queue import DOWNLOAD_TASK

if TYPE_CHECKING:
    from celery import Celery

    from worker.runner import Runner


def register(app: Celery, runner: Runner) -> None:
    """Give the app its tasks, bound to this process's runner."""

    @app.task(name=DOWNLOAD_TASK)
    def download(job_id: str) -> None:
        runner.run_download(job_id)
