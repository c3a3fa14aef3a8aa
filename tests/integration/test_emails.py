"""From the end of a job to an email and a webhook, by several workers, on a real job store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from standardwebhooks import Webhook, WebhookVerificationError

from common.celery_app import celery_app
from common.job_store.deliveries import Deliveries
from common.job_store.download_links import DownloadLinks
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog
from common.job_store.webhook_secrets import WebhookSecrets
from common.jobs.model import Artifact, Job, JobSpec, Progress
from common.wake_ups import Dispatcher
from common.webhook_signing import WebhookKeys
from stack.process import wait_until
from stack.services import Valkey
from tests.support import smtp_server, webhook_receiver
from worker import metrics
from worker.deliverer import Deliverer
from worker.emails.deliverer import LongJobs
from worker.emails.sender import EmailSender
from worker.emails.smtp import TOTAL_TIMEOUT, SmtpServer
from worker.webhooks import WebhookPoster, WebhookSender, WebhookThread

MASTER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ARCHIVE = Artifact(
    bucket="b", key="k", name="files.zip", size=5, content_type="application/zip"
)  # fmt: skip


@pytest.fixture
def smtp() -> Iterator[smtp_server.SmtpServer]:
    with smtp_server.running() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[webhook_receiver.Receiver]:
    with webhook_receiver.running() as server:
        yield server


@pytest.fixture
def jobs(valkey: Valkey, redis: Redis) -> JobStore:
    return JobStore(redis, Dispatcher(celery_app(valkey.url), same_server=True))


def completed(jobs: JobStore, user: str, *, callback_url: str | None = None) -> Job:
    spec = JobSpec(file_ids=(1,), callback_url=callback_url)
    job = jobs.create(user, spec, email=f"{user}@example.com").job
    claim = jobs.claim(job.id, "worker")
    assert claim is not None
    return jobs.complete(claim.lease, ARCHIVE, Progress())


def thread(redis: Redis, smtp: smtp_server.SmtpServer, name: str = "worker") -> WebhookThread:
    """Return what delivers in a worker process, with emails about every job."""
    secrets = WebhookSecrets(redis)
    sender = WebhookSender(
        WebhookPoster(lambda _: True),
        present=lambda job: {"jobId": job.id},
        secret=MASTER,
        generations=lambda user: secrets.of_user(user).valid_at(0),
    )
    emails = Deliverer(
        Deliveries(redis, "email"),
        EmailSender(
            SmtpServer.parse(f"smtp://127.0.0.1:{smtp.port}?starttls=never"),
            DownloadLinks(redis),
            from_address="downloads@example.com",
            default_recipient="",
            public_url="https://downloads.example",
        ),
        wants=LongJobs(after=0, for_everyone=False),
        executor=ThreadPoolExecutor(4),
        max_attempts=4,
        max_duration=TOTAL_TIMEOUT,
        counter=metrics.EMAILS,
    )
    state_log = StateLog(redis, "webhooks", name)
    return WebhookThread(state_log, Deliveries(redis), sender, emails=emails)


def test_many_workers_send_one_mail_per_job(
    jobs: JobStore, redis: Redis, smtp: smtp_server.SmtpServer
) -> None:
    ended = [completed(jobs, f"user-{number}") for number in range(20)]
    threads = [thread(redis, smtp, f"worker-{number}") for number in range(3)]
    for each in threads:
        each.start()
    smtp.wait_for(20)
    emails = Deliveries(redis, "email")

    def states() -> set[str]:
        return {record.state for job in ended for record in emails.of_job(job.id)}

    wait_until(lambda: states() == {"delivered"}, "the results of the emails")
    for each in threads:
        each.stop()
    recipients = sorted(mail.recipients[0] for mail in smtp.mails)
    assert recipients == sorted(f"{job.user}@example.com" for job in ended)
    assert len({mail.message["Message-ID"] for mail in smtp.mails}) == 20
    links = DownloadLinks(redis)
    assert all(len(links.of_job(job.id)) == 1 for job in ended)


def test_an_smtp_server_that_is_down_does_not_delay_webhooks(
    jobs: JobStore, redis: Redis, receiver: webhook_receiver.Receiver
) -> None:
    with smtp_server.running() as stopped:
        pass
    worker = thread(redis, stopped)
    worker.start()
    job = completed(jobs, "ada", callback_url=receiver.url())
    receiver.wait_for(1)
    emails = Deliveries(redis, "email")
    wait_until(
        lambda: any(record.attempts for record in emails.of_job(job.id)), "the email's attempt"
    )
    worker.stop()
    (record,) = emails.of_job(job.id)
    assert (record.state, record.attempts[0].error) == ("pending", "unreachable")


def test_a_receiver_verifies_with_its_own_secret_before_and_after_a_rotation(
    jobs: JobStore,
    redis: Redis,
    smtp: smtp_server.SmtpServer,
    receiver: webhook_receiver.Receiver,
) -> None:
    keys = WebhookKeys(MASTER)
    worker = thread(redis, smtp)
    worker.start()
    completed(jobs, "ada", callback_url=receiver.url())
    receiver.wait_for(1)
    WebhookSecrets(redis).rotate("ada", overlap=3600)
    job = completed(jobs, "ada", callback_url=receiver.url())
    first, second = receiver.wait_for(2)
    valid = [keys.secret("ada", 1), keys.secret("ada", 2), MASTER]
    for post, secrets in ((first, [valid[0], MASTER]), (second, valid)):
        for secret in secrets:
            Webhook(secret or "").verify(post.body, post.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(keys.secret("bob", 1) or "").verify(post.body, post.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(valid[1] or "").verify(first.body, first.headers)

    # A replay has the same ID, and the headers of both attempts are shown.
    deliveries = Deliveries(redis)
    wait_until(lambda: deliveries.of_job(job.id)[0].state == "delivered", "the result")
    assert deliveries.replay_since("ada", job.updated_at) == (1, None)
    replayed = receiver.wait_for(3)[2]
    assert replayed.headers["webhook-id"] == second.headers["webhook-id"]
    wait_until(lambda: len(deliveries.of_job(job.id)[0].attempts) == 2, "the result")
    worker.stop()
    shown = deliveries.of_job(job.id)[0].exchanges[2]
    assert shown.request_headers["webhook-id"] == second.headers["webhook-id"]
    assert shown.request_headers["webhook-signature"] == "***"
    assert shown.response_headers is not None
