"""What the hub delivers to whom, on the real scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.live.hub import Hub
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Failure, Job, Progress
from tests.unit.api.live.conftest import FakeSubscription, Recorder

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


@pytest.fixture
def job_id(new_job: Callable[[], str]) -> str:
    return new_job()


def subscribe(hub: Hub, job_id: str, now: float = 0) -> tuple[Recorder, list[Job | None]]:
    subscriber, snapshots = Recorder(), list[Job | None]()
    hub.subscribe(job_id, subscriber, snapshots.append, now)
    return subscriber, snapshots


def test_subscriber_gets_the_snapshot_that_was_read_after_subscribing(
    hub: Hub, subscription: FakeSubscription, job_id: str
) -> None:
    _, snapshots = subscribe(hub, job_id)
    assert snapshots == []
    subscription.play(hub)
    assert [job.version for job in snapshots if job] == [1]


def test_change_between_subscription_and_snapshot_is_not_missed(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscriber, snapshots = subscribe(hub, job_id)
    jobs.claim(job_id, "w")
    subscription.play(hub)
    assert snapshots[0] is not None
    assert max(snapshots[0].version, *(version for _, version in subscriber.messages)) == 2


def test_snapshot_of_an_unknown_job_is_none(hub: Hub, subscription: FakeSubscription) -> None:
    _, snapshots = subscribe(hub, "00000000-0000-4000-8000-000000000000")
    subscription.play(hub)
    assert snapshots == [None]
    assert len(hub) == 0


def test_every_subscriber_gets_each_version_once_and_in_order(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscribers = [subscribe(hub, job_id)[0] for _ in range(3)]
    subscription.play(hub)
    claim = jobs.claim(job_id, "w")
    assert claim
    subscription.play(hub)
    jobs.retry_later(claim.lease, Failure(code="NETWORK_ERROR", message="x", retryable=True), 5)
    subscription.play(hub)
    for subscriber in subscribers:
        assert subscriber.messages == [("progress", 1), ("progress", 2), ("retrying", 3)]


def test_all_subscribers_of_a_job_share_one_subscription(
    hub: Hub, subscription: FakeSubscription, job_id: str
) -> None:
    subscribers = [subscribe(hub, job_id)[0] for _ in range(5)]
    subscription.play(hub)
    assert subscription.watched == [job_id]
    for subscriber in (subscribers[2], subscribers[0], subscribers[4], subscribers[3]):
        hub.unsubscribe(job_id, subscriber)
        assert subscription.watched == [job_id]
    hub.unsubscribe(job_id, subscribers[1])
    assert subscription.watched == []
    assert len(hub) == 0


def test_removed_subscriber_gets_nothing_more_and_the_others_still_do(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    left, remaining = subscribe(hub, job_id)[0], subscribe(hub, job_id)[0]
    subscription.play(hub)
    hub.unsubscribe(job_id, left)
    hub.unsubscribe(job_id, left)
    jobs.claim(job_id, "w")
    subscription.play(hub)
    assert left.messages == [("progress", 1)]
    assert remaining.messages == [("progress", 1), ("progress", 2)]


def test_terminal_message_ends_the_subscription(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    claim = jobs.claim(job_id, "w")
    assert claim
    jobs.complete(claim.lease, ARTIFACT, Progress(processed_files=1))
    subscription.play(hub)
    assert subscriber.messages[-1] == ("completed", 3)
    assert subscription.watched == []


def test_the_end_is_delivered_although_the_job_store_lost_its_latest_writes(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    # What the job store had published before it lost it.
    hub.on_update(job_id, {"version": "9", "status": "processing"})
    jobs.cancel(job_id)
    subscription.play(hub)
    assert subscriber.messages[-1] == ("cancelled", 2)
    assert subscription.watched == []


def test_late_message_with_an_older_version_is_dropped(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    jobs.claim(job_id, "w")
    subscription.play(hub)
    old = {"version": "1", "status": "queued"}
    hub.on_update(job_id, old)
    assert subscriber.messages == [("progress", 1), ("progress", 2)]


def test_heartbeat_repeats_the_same_state(
    hub: Hub, subscription: FakeSubscription, job_id: str
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    hub.tick(14.9)
    subscription.play(hub)
    assert subscriber.heartbeats == []
    hub.tick(15.0)
    subscription.play(hub)
    hub.tick(30.1)
    subscription.play(hub)
    assert subscriber.heartbeats == [1, 1]


def test_heartbeat_makes_up_for_a_lost_message(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, job_id: str
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    jobs.cancel(job_id)
    subscription.lose()
    hub.tick(15)
    subscription.play(hub)
    assert subscriber.messages[-1] == ("cancelled", 2)
    assert subscriber.heartbeats == []


def test_after_an_outage_all_jobs_are_read_again(
    hub: Hub, subscription: FakeSubscription, jobs: JobStore, new_job: Callable[[], str]
) -> None:
    first, second = new_job(), new_job()
    subscribers = [subscribe(hub, first)[0], subscribe(hub, second)[0]]
    subscription.play(hub)
    subscription.connected = False
    jobs.cancel(first)
    subscription.lose()
    hub.tick(15)
    assert [subscriber.heartbeats for subscriber in subscribers] == [[None], [None]]
    subscription.connected = True
    subscription.watched.clear()
    hub.resubscribe()
    subscription.play(hub)
    assert subscribers[0].messages[-1] == ("cancelled", 2)
    assert subscribers[1].messages == [("progress", 1)]
    assert subscription.watched == [second]


def test_subscriber_during_an_outage_gets_its_snapshot_after_it(
    hub: Hub, subscription: FakeSubscription, job_id: str
) -> None:
    subscription.connected = False
    _, snapshots = subscribe(hub, job_id)
    subscription.play(hub)
    assert snapshots == []
    subscription.connected = True
    hub.resubscribe()
    subscription.play(hub)
    assert [job.version for job in snapshots if job] == [1]


def test_subscribers_are_informed_when_the_job_is_deleted(
    hub: Hub, subscription: FakeSubscription, job_id: str, redis: object
) -> None:
    subscriber, _ = subscribe(hub, job_id)
    subscription.play(hub)
    hub.on_update(job_id, None)
    assert subscriber.is_deleted
    assert len(hub) == 0


def test_message_is_encoded_once_for_all_subscribers_of_a_format(
    subscription: FakeSubscription, job_id: str
) -> None:
    from api.live.messages import JobMessage, StreamFormat

    encoded: list[bytes] = []

    class EncodingSubscriber(Recorder):
        def deliver(self, message: JobMessage) -> None:
            encoded.append(message.encode(StreamFormat.NAMED))

    hub = Hub(subscription, lambda _: {}, heartbeat_interval=15)
    for _ in range(3):
        hub.subscribe(job_id, EncodingSubscriber(), lambda _: None, 0)
    subscription.play(hub)
    assert len(encoded) == 3
    assert encoded[0] is encoded[1] is encoded[2]
