"""From the end of a job to one email with a durable link."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store.deliveries import Deliveries
from common.job_store.download_links import DownloadLinks
from common.job_store.jobs import JobStore
from common.job_store.state_log import StateLog, StateLogEntry
from common.jobs.model import Artifact, Failure, Job, JobSpec, Progress
from common.jobs.transitions import JobState
from tests.support import smtp_server
from worker.emails.deliverer import LongJobs
from worker.emails.message import message_about
from worker.emails.sender import EmailSender
from worker.emails.smtp import SmtpServer

ARCHIVE = Artifact(
    bucket="b", key="k", name="Ärger.zip", size=1_234, content_type="application/zip",
    missing_files=1,
)  # fmt: skip
FAILURE = Failure(code="FILE_NOT_FOUND", message="File 7 does not exist", retryable=False)
ADA = "ada@example.com"


@pytest.fixture
def server() -> Iterator[smtp_server.SmtpServer]:
    with smtp_server.running() as running:
        yield running


@pytest.fixture
def sender(server: smtp_server.SmtpServer, redis: Redis) -> EmailSender:
    return EmailSender(
        SmtpServer.parse(f"smtp://127.0.0.1:{server.port}?starttls=never"),
        DownloadLinks(redis),
        from_address="downloads@example.com",
        default_recipient="operator@example.com",
        public_url="https://downloads.example",
    )


@pytest.fixture
def emails(redis: Redis) -> Deliveries:
    return Deliveries(redis, "email")


def ended(
    jobs: JobStore, redis: Redis, *, email: str | None = ADA, failure: Failure | None = None
) -> StateLogEntry:
    """Return the state log's entry of a job that has just ended."""
    state_log = StateLog(redis, "test", "reader")
    state_log.create_group()
    job_id = jobs.create("ada", JobSpec(file_ids=(1, 2)), email=email).job.id
    claim = jobs.claim(job_id, "worker")
    assert claim is not None
    if failure is None:
        jobs.complete(claim.lease, ARCHIVE, Progress())
    else:
        jobs.fail(claim.lease, failure)
    entries = state_log.read(count=100)
    return next(entry for entry in entries if entry.job.id == job_id and entry.job.terminal)


def deliver(emails: Deliveries, sender: EmailSender, redis: Redis) -> str:
    """Make the attempt that is due, whenever that is; return the state of the delivery."""
    for due in redis.scan_iter("emails:due:*"):
        for member in redis.zrange(due, 0, -1):
            redis.zadd(due, {str(member): 0})
    (delivery,) = emails.claim(limit=1, lease=60)
    outcome = sender.deliver(delivery)
    assert emails.record_attempt(delivery, outcome.state, outcome.attempt, delay=outcome.delay)
    return outcome.state


def link_in(mail: smtp_server.Mail) -> str:
    text = mail.message.get_content()
    return str(next(line for line in text.splitlines() if line.startswith("https://")))


def test_a_completed_job_sends_one_mail_with_a_link_that_can_be_revoked(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    entry = ended(jobs, redis)
    emails.schedule([entry, entry])
    emails.schedule([entry])
    assert deliver(emails, sender, redis) == "delivered"
    assert emails.claim(limit=1, lease=60) == []
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("downloads@example.com", [ADA])
    message = mail.message
    assert (message["To"], message["Subject"]) == (ADA, "Your download is ready")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{entry.job.id}.{entry.job.version}@example.com>"
    text = message.get_content()
    assert "Ärger.zip (2 files, 1,234 bytes)" in text
    assert "Missing files: 1" in text
    # A durable link, not a signed one of the storage.
    url = link_in(mail)
    assert url.startswith("https://downloads.example/d/")
    assert "X-Amz" not in text
    links = DownloadLinks(redis)
    (link,) = links.of_job(entry.job.id)
    assert links.find(url.rpartition("/")[2]) == link


def test_a_failed_job_sends_the_reason_and_no_link(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    entry = ended(jobs, redis, failure=FAILURE)
    emails.schedule([entry])
    deliver(emails, sender, redis)
    message = server.mails[0].message
    assert message["Subject"] == "Your download failed"
    assert "File 7 does not exist" in message.get_content()
    assert "https://" not in message.get_content()
    assert DownloadLinks(redis).of_job(entry.job.id) == []


def test_a_mail_that_is_rejected_for_now_is_sent_again_and_leaves_one_usable_link(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    entry = ended(jobs, redis)
    emails.schedule([entry])
    server.replies = {"RCPT": ["450 greylisted", "450 greylisted"]}
    states = [deliver(emails, sender, redis) for _ in range(3)]
    assert states == ["pending", "pending", "delivered"]
    links = DownloadLinks(redis).of_job(entry.job.id)
    assert [link.revoked_at is None for link in links].count(True) == 1
    (record,) = emails.of_job(entry.job.id)
    assert [attempt.status for attempt in record.attempts] == [450, 450, 250]


def test_a_rejected_recipient_ends_the_attempts(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    emails.schedule([ended(jobs, redis)])
    server.replies = {"RCPT": ["550 no such user"]}
    assert deliver(emails, sender, redis) == "failed"


def test_a_rejected_attempt_is_recorded_although_its_link_cannot_be_revoked(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emails.schedule([ended(jobs, redis)])
    server.replies = {"RCPT": ["550 no such user"]}
    monkeypatch.setattr(DownloadLinks, "revoke", Mock(side_effect=RedisConnectionError("gone")))
    assert deliver(emails, sender, redis) == "failed"


def test_a_crash_between_sending_and_recording_repeats_the_message_id(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    emails.schedule([ended(jobs, redis)])
    (lost,) = emails.claim(limit=1, lease=60)
    sender.deliver(lost)
    assert deliver(emails, sender, redis) == "delivered"
    ids = {mail.message["Message-ID"] for mail in server.mails}
    assert (len(server.mails), len(ids)) == (2, 1)


def test_a_connection_that_broke_after_the_data_keeps_the_link(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    # The server may have accepted the message.
    entry = ended(jobs, redis)
    emails.schedule([entry])
    server.replies = {".": [""]}
    assert deliver(emails, sender, redis) == "pending"
    (link,) = DownloadLinks(redis).of_job(entry.job.id)
    assert link.revoked_at is None


def test_no_mail_is_sent_about_an_archive_that_is_gone(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    emails.schedule([ended(jobs, redis)])
    for key in redis.scan_iter("job:status:*"):
        redis.hset(key, "expires_at", "1")
    assert deliver(emails, sender, redis) == "gone"
    assert server.mails == []


def test_jobs_without_an_address_go_to_the_operators_address(
    jobs: JobStore,
    redis: Redis,
    emails: Deliveries,
    sender: EmailSender,
    server: smtp_server.SmtpServer,
) -> None:
    emails.schedule([ended(jobs, redis, email=None)])
    deliver(emails, sender, redis)
    assert server.mails[0].recipients == ["operator@example.com"]


def with_duration(entry: StateLogEntry, seconds: float) -> StateLogEntry:
    job = dataclasses.replace(entry.job, restarted_at=entry.job.updated_at - round(seconds * 1000))
    copy = dataclasses.replace(entry)
    copy.__dict__["job"] = job
    return copy


def test_only_long_jobs_that_completed_or_failed_send_a_mail(jobs: JobStore, redis: Redis) -> None:
    wants, everyone = LongJobs(after=60, for_everyone=False), LongJobs(after=60, for_everyone=True)
    completed, failed = ended(jobs, redis), ended(jobs, redis, failure=FAILURE)
    for entry in (completed, failed):
        assert not wants(with_duration(entry, 59.9))
        assert wants(with_duration(entry, 60))
    anonymous = with_duration(ended(jobs, redis, email=None), 60)
    assert not wants(anonymous)
    assert everyone(anonymous)
    for state in set(JobState) - {JobState.COMPLETED, JobState.FAILED}:
        entry = with_duration(completed, 60)
        entry.__dict__["job"] = dataclasses.replace(entry.job, status=state)
        assert not wants(entry)


def test_no_text_of_the_job_gets_into_a_header(jobs: JobStore, redis: Redis) -> None:
    hostile = "x\r\nBcc: eve@example.com\r\n\r\nhello"
    job: Job = dataclasses.replace(
        ended(jobs, redis).job, artifact=dataclasses.replace(ARCHIVE, name=hostile)
    )
    message = message_about(
        job, from_address="downloads@example.com", recipient=ADA, link=None, now=time.time()
    )
    head, _, body = message.as_bytes().partition(b"\r\n\r\n")
    assert b"eve" not in head
    assert b"eve" in body
    names = {name for name, _ in message.items()}
    assert "Bcc" not in names


@pytest.mark.parametrize("recipient", ["a@b.c\r\nBcc: eve@example.com", "a@b.c, eve@example.com"])
def test_an_address_that_is_none_cannot_become_a_header(
    jobs: JobStore, redis: Redis, recipient: str
) -> None:
    with pytest.raises(Exception, match=r"."):
        message_about(
            ended(jobs, redis).job,
            from_address="downloads@example.com", recipient=recipient, link=None, now=0,
        )  # fmt: skip


def test_an_address_that_no_header_can_contain_ends_the_delivery_without_a_link(
    jobs: JobStore, redis: Redis, emails: Deliveries, sender: EmailSender
) -> None:
    # Some providers assigned such addresses, and earlier releases accepted them.
    entry = ended(jobs, redis, email="ada..l@example.com")
    emails.schedule([entry])
    assert deliver(emails, sender, redis) == "failed"
    assert DownloadLinks(redis).of_job(entry.job.id) == []
