"""``longhaul webhooks``: the secret of your webhooks, and sending them again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from .session import Session


@click.group()
def webhooks() -> None:
    """Manage your webhooks: their secret, and sending them again."""


@webhooks.command("secret")
@click.pass_obj
def webhook_secret(session: Session) -> None:
    """Print the secret that your webhooks are signed with."""
    _print_secret(session, session.api.webhook_secret())


@webhooks.command("rotate")
@click.option(
    "--overlap",
    type=click.IntRange(0),
    help="Seconds for which the earlier secret remains valid. Default: one day.",
)
@click.pass_obj
def rotate_webhook_secret(session: Session, overlap: int | None) -> None:
    """Replace the secret and print the new one."""
    _print_secret(session, session.api.rotate_webhook_secret(overlap=overlap))


def _print_secret(session: Session, secret: Mapping[str, Any]) -> None:
    if session.as_json:
        session.json(secret)
    else:
        click.echo(secret["secret"])


@webhooks.command("list")
@click.argument("job_id", metavar="JOB")
@click.pass_obj
def list_webhooks(session: Session, job_id: str) -> None:
    """List the webhooks of a job with the latest result."""
    for delivery in session.api.deliveries(job_id):
        if session.as_json:
            session.json(delivery)
            continue
        latest = delivery["attempts"][-1] if delivery["attempts"] else {}
        result = latest.get("status") or latest.get("error") or ""
        line = f"{delivery['webhookId']}  {delivery['type']:<20} {delivery['state']:<9}  {result}"
        click.echo(line.rstrip())


@webhooks.command("replay")
@click.argument("job_id", metavar="[JOB", required=False)
@click.argument("webhook_id", metavar="WEBHOOK]", required=False)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]),
    help="All webhooks since this time, which is UTC unless it has an offset.",
)
@click.option("--failed", is_flag=True, help="With --since: only those that failed.")
@click.pass_obj
def replay_webhooks(
    session: Session,
    job_id: str | None,
    webhook_id: str | None,
    since: datetime | None,
    failed: bool,
) -> None:
    """Send webhooks again: one of a job, or all since a time."""
    if since is not None and job_id is None and webhook_id is None:
        moment = since if since.tzinfo else since.replace(tzinfo=UTC)
        state = "failed" if failed else None
        replayed = session.api.replay_webhooks(moment, state=state)
    elif since is None and job_id and webhook_id and not failed:
        session.api.replay_webhook(job_id, webhook_id)
        replayed = 1
    else:
        raise click.UsageError("specify either JOB and WEBHOOK, or --since")
    if session.as_json:
        session.json({"replayed": replayed})
    else:
        click.echo(f"{replayed} webhook{'' if replayed == 1 else 's'} will be sent again.")
