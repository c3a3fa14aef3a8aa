"""Delivers a job's changes to its subscribers: one subscription per job and process.

Bookkeeping without I/O: the job store's connection calls the hub, and the hub calls subscribers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from api.live.messages import JobMessage, Present, message_from_fields
from common.jobs.model import Job
from common.jobs.transitions import TERMINAL

#: Gets the job as it was read after the subscription began; None when there is no such job.
OnSnapshot = Callable[[Job | None], None]


class Subscription(Protocol):
    """The part of ``EventSubscription`` that the hub needs."""

    @property
    def connected(self) -> bool: ...

    def watch(self, job_ids: Iterable[str]) -> None: ...

    def read(self, job_ids: Iterable[str]) -> None: ...

    def unwatch(self, job_ids: Iterable[str]) -> None: ...


class Subscriber(Protocol):
    """Receives one job's updates."""

    #: Its position among the subscribers of its job; only the hub uses it.
    position: int

    def deliver(self, message: JobMessage) -> None:
        """Take a newer state. It may replace one that is not sent yet: only the newest matters."""

    def heartbeat(self, message: JobMessage | None) -> None:
        """Take the same state again, or None while the job store is unavailable."""

    def job_deleted(self) -> None:
        """Handle that the job store no longer has the job."""


class Topic:
    """A job with subscribers."""

    __slots__ = ("awaits_heartbeat", "awaits_snapshot", "job_id", "subscribers", "version")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        #: The newest version that was delivered.
        self.version = 0
        self.subscribers: list[Subscriber] = []
        #: Callbacks of subscribers that wait for their first snapshot; None if there are none.
        self.awaits_snapshot: list[OnSnapshot] | None = None
        #: A snapshot was requested for a heartbeat.
        self.awaits_heartbeat = False


class Hub:
    """Delivers each change to the subscribers of its job, and heartbeats in between."""

    def __init__(
        self, subscription: Subscription, present: Present, *, heartbeat_interval: float
    ) -> None:
        """``heartbeat_interval``: seconds between two heartbeats of a job."""
        self._subscription = subscription
        self._present = present
        self._heartbeat_interval = heartbeat_interval
        self._topics: dict[str, Topic] = {}
        #: (due time, topic), the earliest first; topics that were removed are skipped when due.
        self._heartbeats: deque[tuple[float, Topic]] = deque()

    def __len__(self) -> int:
        """Return the number of jobs with subscribers."""
        return len(self._topics)

    def subscribe(
        self, job_id: str, subscriber: Subscriber, on_snapshot: OnSnapshot, now: float
    ) -> None:
        """Subscribe first, then read: ``on_snapshot`` gets the job as it was after that.

        The subscriber receives every change from now on, also before ``on_snapshot`` is called.
        """
        topic = self._topics.get(job_id)
        if topic is None:
            topic = self._topics[job_id] = Topic(job_id)
            self._heartbeats.append((now + self._heartbeat_interval, topic))
            if self._subscription.connected:
                self._subscription.watch([job_id])
        elif self._subscription.connected:
            self._subscription.read([job_id])
        subscriber.position = len(topic.subscribers)
        topic.subscribers.append(subscriber)
        if topic.awaits_snapshot is None:
            topic.awaits_snapshot = []
        topic.awaits_snapshot.append(on_snapshot)

    def unsubscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """Remove a subscriber, and the topic with its last one; does nothing if already removed."""
        topic = self._topics.get(job_id)
        if topic is None:
            return
        subscribers, position = topic.subscribers, subscriber.position
        if position >= len(subscribers) or subscribers[position] is not subscriber:
            return
        last = subscribers.pop()
        if last is not subscriber:
            subscribers[position] = last
            last.position = position
        if not subscribers:
            self._remove(topic)

    def on_update(self, job_id: str, fields: dict[str, str] | None) -> None:
        """Deliver a job that the job store published, or returned when it was read.

        ``fields`` is None when there is no such job.
        """
        topic = self._topics.get(job_id)
        if topic is None:
            return
        if fields is None:
            self._on_deleted(topic)
            return
        # A topic ends with its first terminal state, so that is news whatever its version: a job
        # store that lost its latest writes assigns the same versions again.
        newer = int(fields["version"]) > topic.version or fields["status"] in TERMINAL
        if not (newer or topic.awaits_snapshot or topic.awaits_heartbeat):
            return
        message = message_from_fields(fields, None if newer else "heartbeat", self._present)
        callbacks, topic.awaits_snapshot = topic.awaits_snapshot, None
        if newer:
            topic.version = message.version
            for subscriber in topic.subscribers:
                subscriber.deliver(message)
        elif topic.awaits_heartbeat:
            # A copy: a subscriber that finds its client unreachable unsubscribes.
            for subscriber in list(topic.subscribers):
                subscriber.heartbeat(message)
        topic.awaits_heartbeat = False
        for on_snapshot in callbacks or ():
            on_snapshot(message.job)
        if message.terminal:
            self._remove(topic)

    def resubscribe(self) -> None:
        """Watch all jobs again after a reconnect; changes missed meanwhile arrive as updates."""
        for topic in self._topics.values():
            topic.awaits_heartbeat = False
        self._subscription.watch(self._topics)

    def tick(self, now: float) -> None:
        """Read the jobs whose heartbeat is due; it is sent when they arrive in ``on_update``."""
        due = list(self._take_due(now))
        for topic in due:
            self._heartbeats.append((now + self._heartbeat_interval, topic))
            topic.awaits_heartbeat = self._subscription.connected
        if self._subscription.connected:
            self._subscription.read(topic.job_id for topic in due)
            return
        for topic in due:
            for subscriber in list(topic.subscribers):
                subscriber.heartbeat(None)

    def _take_due(self, now: float) -> Iterator[Topic]:
        while self._heartbeats and self._heartbeats[0][0] <= now:
            topic = self._heartbeats.popleft()[1]
            if self._topics.get(topic.job_id) is topic:
                yield topic

    def _on_deleted(self, topic: Topic) -> None:
        callbacks, topic.awaits_snapshot = topic.awaits_snapshot, None
        for on_snapshot in callbacks or ():
            on_snapshot(None)
        subscribers = list(topic.subscribers)
        self._remove(topic)
        for subscriber in subscribers:
            subscriber.job_deleted()

    def _remove(self, topic: Topic) -> None:
        topic.subscribers.clear()
        del self._topics[topic.job_id]
        if self._subscription.connected:
            self._subscription.unwatch([topic.job_id])
