"""What the broker's messages start: functions of a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from common.celery_app import DOWNLOAD_TASK, UPKEEP_TASK
from common.errors import DownloadError
from common.jobs.model import WakeUp

if TYPE_CHECKING:
    from celery import Celery

    from worker.attempt.runner import Runner
    from worker.maintenance.cleanup import Cleanup

log = structlog.get_logger(__name__)


def register(app: Celery, runner: Runner, upkeep: Cleanup) -> None:
    """Give the app its tasks, bound to this process's runner and upkeep."""

    @app.task(name=DOWNLOAD_TASK)
    def download(job_id: str, priority: str, sent: str) -> None:
        runner.run_download(WakeUp(job_id=job_id, priority=priority, sent=int(sent)))

    @app.task(name=UPKEEP_TASK)
    def tidy() -> None:
        try:
            upkeep.run()
        except (DownloadError, RedisError) as error:
            log.warning("the upkeep waits for its next turn", reason=str(error))
