"""Who hears what, on the real scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.live.hub import Hub
from common.job_store.jobs import JobStore
from common.jobs.model import Artifact, Failure, Job, Progress
from tests.unit.api.live.conftest import FakeFeed, Recorder

ARTIFACT = Artifact(bucket="b", key="k", name="a.zip", size=1, content_type="application/zip")


@pytest.fixture
def job_id(new_job: Callable[[], str]) -> str:
    return new_job()


def join(hub: Hub, job_id: str, now: float = 0) -> tuple[Recorder, list[Job | None]]:
    watcher, opened = Recorder(), list[Job | None]()
    hub.join(job_id, watcher, opened.append, now)
    return watcher, opened


def test_join_gives_the_snapshot_read_after_subscribing(
    hub: Hub, feed: FakeFeed, job_id: str
) -> None:
    _, opened = join(hub, job_id)
    assert opened == []
    feed.play(hub)
    assert [job.version for job in opened if job] == [1]


def test_change_between_subscription_and_snapshot_is_not_missed(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    watcher, opened = join(hub, job_id)
    jobs.claim(job_id, "w")
    feed.play(hub)
    assert opened[0] is not None
    assert max(opened[0].version, *(version for _, version in watcher.told)) == 2


def test_unknown_job_is_told_as_unknown(hub: Hub, feed: FakeFeed) -> None:
    _, opened = join(hub, "00000000-0000-4000-8000-000000000000")
    feed.play(hub)
    assert opened == [None]
    assert len(hub) == 0


def test_every_watcher_hears_each_version_once_and_in_order(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    watchers = [join(hub, job_id)[0] for _ in range(3)]
    feed.play(hub)
    claim = jobs.claim(job_id, "w")
    assert claim
    feed.play(hub)
    jobs.retry_later(claim.lease, Failure(code="NETWORK_ERROR", message="x", retryable=True), 5)
    feed.play(hub)
    for watcher in watchers:
        assert watcher.told == [("progress", 1), ("progress", 2), ("retrying", 3)]


def test_many_watchers_of_a_job_make_one_subscription(
    hub: Hub, feed: FakeFeed, job_id: str
) -> None:
    watchers = [join(hub, job_id)[0] for _ in range(5)]
    feed.play(hub)
    assert feed.watched == [job_id]
    for watcher in (watchers[2], watchers[0], watchers[4], watchers[3]):
        hub.leave(job_id, watcher)
        assert feed.watched == [job_id]
    hub.leave(job_id, watchers[1])
    assert feed.watched == []
    assert len(hub) == 0


def test_whoever_left_hears_nothing_and_the_others_still_do(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    gone, stays = join(hub, job_id)[0], join(hub, job_id)[0]
    feed.play(hub)
    hub.leave(job_id, gone)
    hub.leave(job_id, gone)
    jobs.claim(job_id, "w")
    feed.play(hub)
    assert gone.told == [("progress", 1)]
    assert stays.told == [("progress", 1), ("progress", 2)]


def test_terminal_event_ends_the_subscription(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    watcher, _ = join(hub, job_id)
    feed.play(hub)
    claim = jobs.claim(job_id, "w")
    assert claim
    jobs.complete(claim.lease, ARTIFACT, Progress(processed_files=1))
    feed.play(hub)
    assert watcher.told[-1] == ("completed", 3)
    assert feed.watched == []


def test_older_version_that_comes_late_is_dropped(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    watcher, _ = join(hub, job_id)
    feed.play(hub)
    jobs.claim(job_id, "w")
    feed.play(hub)
    old = {"version": "1", "status": "queued"}
    hub.change(job_id, old)
    assert watcher.told == [("progress", 1), ("progress", 2)]


def test_heartbeat_tells_the_same_state_once_more(hub: Hub, feed: FakeFeed, job_id: str) -> None:
    watcher, _ = join(hub, job_id)
    feed.play(hub)
    hub.tick(14.9)
    feed.play(hub)
    assert watcher.beats == []
    hub.tick(15.0)
    feed.play(hub)
    hub.tick(30.1)
    feed.play(hub)
    assert watcher.beats == [1, 1]


def test_heartbeat_heals_a_lost_message(
    hub: Hub, feed: FakeFeed, jobs: JobStore, job_id: str
) -> None:
    watcher, _ = join(hub, job_id)
    feed.play(hub)
    jobs.cancel(job_id)
    feed.lose()
    hub.tick(15)
    feed.play(hub)
    assert watcher.told[-1] == ("cancelled", 2)
    assert watcher.beats == []


def test_after_an_outage_all_jobs_are_read_again(
    hub: Hub, feed: FakeFeed, jobs: JobStore, new_job: Callable[[], str]
) -> None:
    first, second = new_job(), new_job()
    watchers = [join(hub, first)[0], join(hub, second)[0]]
    feed.play(hub)
    feed.connected = False
    jobs.cancel(first)
    feed.lose()
    hub.tick(15)
    assert [watcher.beats for watcher in watchers] == [[None], [None]]
    feed.connected = True
    feed.watched.clear()
    hub.resubscribe()
    feed.play(hub)
    assert watchers[0].told[-1] == ("cancelled", 2)
    assert watchers[1].told == [("progress", 1)]
    assert feed.watched == [second]


def test_join_during_an_outage_is_answered_after_it(hub: Hub, feed: FakeFeed, job_id: str) -> None:
    feed.connected = False
    _, opened = join(hub, job_id)
    feed.play(hub)
    assert opened == []
    feed.connected = True
    hub.resubscribe()
    feed.play(hub)
    assert [job.version for job in opened if job] == [1]


def test_job_that_is_forgotten_ends_its_streams(
    hub: Hub, feed: FakeFeed, job_id: str, redis: object
) -> None:
    watcher, _ = join(hub, job_id)
    feed.play(hub)
    hub.change(job_id, None)
    assert watcher.is_gone
    assert len(hub) == 0


def test_event_is_made_into_bytes_once_for_all_watchers_of_a_form(
    feed: FakeFeed, job_id: str
) -> None:
    from api.live.messages import Form, JobMessage

    made: list[bytes] = []

    class Reader(Recorder):
        def offer(self, event: JobMessage) -> None:
            made.append(event.bytes_for(Form.NAMED))

    hub = Hub(feed, lambda _: {}, heartbeat=15)
    for _ in range(3):
        hub.join(job_id, Reader(), lambda _: None, 0)
    feed.play(hub)
    assert len(made) == 3
    assert made[0] is made[1] is made[2]
