"""Who watches which job: one subscription per job and process, whatever number of watchers.

Pure bookkeeping: the feed is driven, and the watchers are written to, by others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from api.live.messages import JobMessage, Present, heard
from common.jobs.model import Job

#: Gets the job as it was read after the subscription; None when there is no such job.
Opened = Callable[[Job | None], None]


class Subscription(Protocol):
    """The part of ``EventFeed`` that the hub needs."""

    @property
    def connected(self) -> bool: ...

    def watch(self, job_ids: Iterable[str]) -> None: ...

    def read(self, job_ids: Iterable[str]) -> None: ...

    def unwatch(self, job_ids: Iterable[str]) -> None: ...


class Subscriber(Protocol):
    """Whoever wants to hear of one job."""

    #: Its place among the watchers of its job; the hub's own.
    place: int

    def offer(self, event: JobMessage) -> None:
        """A newer state. Only the newest matters: one that is not yet told may be replaced."""

    def beat(self, event: JobMessage | None) -> None:
        """Nothing new: the same state once more, or None while the store is away."""

    def gone(self) -> None:
        """The job is not known any more."""


class Topic:
    """A watched job."""

    __slots__ = ("beating", "job_id", "opening", "version", "watchers")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        #: The newest version that was heard of.
        self.version = 0
        self.watchers: list[Subscriber] = []
        #: Who waits for the first snapshot; None when nobody does.
        self.opening: list[Opened] | None = None
        #: A snapshot was asked for because of a heartbeat.
        self.beating = False


class Hub:
    """Hands each change to the watchers of its job, and heartbeats in between."""

    def __init__(self, feed: Subscription, present: Present, *, heartbeat: float) -> None:
        """``heartbeat``: seconds between two of one job."""
        self._feed = feed
        self._present = present
        self._heartbeat = heartbeat
        self._topics: dict[str, Topic] = {}
        #: (due time, topic), the earliest first; topics that are gone drop out when due.
        self._due: deque[tuple[float, Topic]] = deque()

    def __len__(self) -> int:
        """Jobs that are watched."""
        return len(self._topics)

    def join(self, job_id: str, watcher: Subscriber, opened: Opened, now: float) -> None:
        """Subscribe, then read: ``opened`` gets the job as it was after the subscription began.

        From now on ``watcher`` hears of every change, also before ``opened`` is called.
        """
        topic = self._topics.get(job_id)
        if topic is None:
            topic = self._topics[job_id] = Topic(job_id)
            self._due.append((now + self._heartbeat, topic))
            if self._feed.connected:
                self._feed.watch([job_id])
        elif self._feed.connected:
            self._feed.read([job_id])
        watcher.place = len(topic.watchers)
        topic.watchers.append(watcher)
        if topic.opening is None:
            topic.opening = []
        topic.opening.append(opened)

    def leave(self, job_id: str, watcher: Subscriber) -> None:
        """Forget a watcher; forget the job with the last one. Harmless for one that is gone."""
        topic = self._topics.get(job_id)
        if topic is None:
            return
        watchers, place = topic.watchers, watcher.place
        if place >= len(watchers) or watchers[place] is not watcher:
            return
        last = watchers.pop()
        if last is not watcher:
            watchers[place] = last
            last.place = place
        if not watchers:
            self._drop(topic)

    def change(self, job_id: str, fields: dict[str, str] | None) -> None:
        """The feed has brought a job: a change, or what was asked for."""
        topic = self._topics.get(job_id)
        if topic is None:
            return
        if fields is None:
            self._gone(topic)
            return
        newer = int(fields["version"]) > topic.version
        if not (newer or topic.opening or topic.beating):
            return
        event = heard(fields, None if newer else "heartbeat", self._present)
        opening, topic.opening = topic.opening, None
        if newer:
            topic.version = event.version
            for watcher in topic.watchers:
                watcher.offer(event)
        elif topic.beating:
            # A copy: a watcher that finds its client dead leaves.
            for watcher in list(topic.watchers):
                watcher.beat(event)
        topic.beating = False
        for opened in opening or ():
            opened(event.job)
        if event.terminal:
            self._drop(topic)

    def resubscribe(self) -> None:
        """After a new connection: watch all anew; what was missed meanwhile comes as a change."""
        for topic in self._topics.values():
            topic.beating = False
        self._feed.watch(self._topics)

    def tick(self, now: float) -> None:
        """Start the heartbeats that are due; their events go out when the snapshots are there."""
        due = list(self._take_due(now))
        for topic in due:
            self._due.append((now + self._heartbeat, topic))
            topic.beating = self._feed.connected
        if self._feed.connected:
            self._feed.read(topic.job_id for topic in due)
            return
        for topic in due:
            for watcher in list(topic.watchers):
                watcher.beat(None)

    def _take_due(self, now: float) -> Iterator[Topic]:
        while self._due and self._due[0][0] <= now:
            topic = self._due.popleft()[1]
            if self._topics.get(topic.job_id) is topic:
                yield topic

    def _gone(self, topic: Topic) -> None:
        opening, topic.opening = topic.opening, None
        for opened in opening or ():
            opened(None)
        watchers = list(topic.watchers)
        self._drop(topic)
        for watcher in watchers:
            watcher.gone()

    def _drop(self, topic: Topic) -> None:
        topic.watchers.clear()
        del self._topics[topic.job_id]
        if self._feed.connected:
            self._feed.unwatch([topic.job_id])
