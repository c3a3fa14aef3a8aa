"""Writes the email about a job that has ended."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from common.jobs.model import Job
from common.jobs.transitions import JobState

#: The subject has no text from the job, whose names come from users.
_SUBJECTS = {
    JobState.COMPLETED: "Your download is ready",
    JobState.FAILED: "Your download failed",
}


def message_about(
    job: Job, *, from_address: str, recipient: str, link: str | None, now: float
) -> EmailMessage:
    """Return the message. ``link`` leads to the archive of a completed job.

    Its Message-ID is the same in every attempt, so that mail servers can tell a repeated one.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(addr_spec=from_address)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = _SUBJECTS[job.status]
    message["Date"] = datetime.fromtimestamp(int(now), UTC)
    message["Message-ID"] = f"<{job.id}.{job.version}@{from_address.rpartition('@')[2]}>"
    # RFC 3834, 5: keeps vacation notices from being sent in reply.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(job, link)), cte="quoted-printable")
    return message


def _lines(job: Job, link: str | None) -> list[str]:
    if job.status is JobState.FAILED:
        reason = job.failure.message if job.failure else "An unexpected error occurred."
        return ["Your download failed.", "", reason, "", f"Download {job.id}", ""]
    lines = ["Your download is ready."]
    if job.artifact is not None:
        files = "1 file" if job.total_files == 1 else f"{job.total_files} files"
        lines += ["", f"{job.artifact.name} ({files}, {job.artifact.size:,} bytes)"]
        if job.artifact.missing_files:
            lines.append(f"Missing files: {job.artifact.missing_files}")
    if link is not None:
        lines += ["", link, "", "Anyone who has this link can download the archive."]
        if job.expires_at is not None:
            until = datetime.fromtimestamp(job.expires_at // 1000, UTC)
            lines.append(f"It works until {until:%Y-%m-%d %H:%M} UTC.")
    return [*lines, "", f"Download {job.id}", ""]
