"""Runs a build's copies, reads and uploads side by side.

No transfer waits for a phase to end. A part whose headers are known is uploaded while it is read.
Another one that the worker writes is uploaded as soon as it is filled and the checksums in its
headers are known; copies and parts behind it bring those. All are started from the end of the
archive to its beginning, so what a buffer waits for was started before it or needs no memory, and
nothing can deadlock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from common.object_storage import Cancelled, ObjectStorage
from common.task_group import CHECK_INTERVAL
from worker.archive.composing.adaptive_limit import AdaptiveLimit
from worker.archive.composing.copying import Copier
from worker.archive.composing.state import BuildState
from worker.archive.composing.unbuffered_part import UnbufferedPart, can_upload_unbuffered
from worker.archive.composing.writing import PartBuffer, Read, Writer
from worker.archive.planning.layout import PartKind, PlannedPart

#: Concurrent transfers of each kind: at the start of a process's first build, and at most.
INITIAL_CONCURRENCY = 16
MAX_COPIES = 48
MAX_READS_AND_UPLOADS = 64
#: The limit for the buffers of all parts that are being filled or uploaded, in bytes.
MAX_BUFFER_BYTES = 56 * 1024 * 1024

#: The limits at the end of the last build with a storage: for copies, and for reads and uploads.
_last_limits: WeakKeyDictionary[ObjectStorage, tuple[int, int]] = WeakKeyDictionary()


def transfer_parts(state: BuildState) -> None:
    """Copy or upload every part that the storage does not have yet."""
    scheduler = _Scheduler(state)
    state.deps.task_group.each(
        scheduler.run, scheduler.transfers(), concurrency=scheduler.max_concurrency
    )
    _last_limits[state.deps.storage] = scheduler.limits


@dataclass(frozen=True, slots=True)
class Transfer:
    """One copy, read or upload."""

    run: Callable[[], None]
    #: The bytes that count for the throughput of its kind.
    size: int
    limit: AdaptiveLimit


class _Scheduler:
    """Decides what the threads of one build do next."""

    def __init__(self, state: BuildState) -> None:
        self._state = state
        self._writer = Writer(state)
        self._copies = deque(Copier(state).copies())
        copied = {planned_part.number for planned_part, _ in self._copies}
        self._unbuffered: deque[PlannedPart] = deque()
        self._unread: deque[PlannedPart] = deque()
        for planned_part in reversed(state.plan.parts):
            done = planned_part.number in copied or planned_part.number in state.uploaded_parts
            if planned_part.kind is PartKind.WRITE and not done:
                is_unbuffered = can_upload_unbuffered(state, planned_part)
                (self._unbuffered if is_unbuffered else self._unread).append(planned_part)
        #: Reads of the buffer that was begun last.
        self._reads: deque[Read] = deque()
        #: Filled buffers that wait for checksums, and all whose upload has not started.
        self._filled: list[PartBuffer] = []
        self._not_uploaded = len(self._unread)
        #: The bytes of all buffers, and the number of those that do not wait for all others.
        self._memory = self._buffers = 0
        copies, reads_and_uploads = _last_limits.get(
            state.deps.storage, (INITIAL_CONCURRENCY, INITIAL_CONCURRENCY)
        )
        self._copy_limit = _limit(copies, MAX_COPIES)
        #: For reads, uploads and unbuffered parts.
        self._read_and_upload_limit = _limit(reads_and_uploads, MAX_READS_AND_UPLOADS)
        #: Guards everything above.
        self._changed = threading.Condition()

    @property
    def max_concurrency(self) -> int:
        """Return how many transfers may run at once, so that no more threads are started."""
        spans = sum(len(planned_part.spans) for planned_part in self._unread)
        reads_and_uploads = len(self._unbuffered) + spans
        return min(MAX_COPIES, len(self._copies)) + min(MAX_READS_AND_UPLOADS, reads_and_uploads)

    @property
    def limits(self) -> tuple[int, int]:
        """Return the current limits for copies, and for reads and uploads."""
        return self._copy_limit.value, self._read_and_upload_limit.value

    def transfers(self) -> Iterator[Transfer]:
        """Yield one transfer after the other as soon as it may start."""
        while True:
            with self._changed:
                while (transfer := self._next()) is None:
                    if not (self._copies or self._unbuffered or self._not_uploaded):
                        return
                    if self._state.cancellation.requested:
                        raise Cancelled
                    self._changed.wait(CHECK_INTERVAL)
            yield transfer

    def run(self, transfer: Transfer) -> None:
        """Run a transfer."""
        transfer.run()
        with self._changed:
            transfer.limit.release(transfer.size)
            self._changed.notify()

    def _next(self) -> Transfer | None:
        if self._copies and self._copy_limit.acquire():
            planned_part, copy = self._copies.popleft()
            return Transfer(copy, planned_part.size, self._copy_limit)
        if transfer := self._next_upload():
            return transfer
        if self._unbuffered and self._read_and_upload_limit.acquire():
            planned_part = self._unbuffered.popleft()
            upload = UnbufferedPart(self._state, planned_part).upload
            return Transfer(upload, planned_part.size, self._read_and_upload_limit)
        if self._has_reads() and self._read_and_upload_limit.acquire():
            read = self._reads.popleft()
            return Transfer(partial(self._read, read), read.length, self._read_and_upload_limit)
        # A buffer without reads may have been begun just now.
        return self._next_upload()

    def _next_upload(self) -> Transfer | None:
        buffer = next(filter(self._writer.is_complete, self._filled), None)
        if buffer is None or not self._read_and_upload_limit.acquire():
            return None
        self._filled.remove(buffer)
        self._not_uploaded -= 1
        return Transfer(partial(self._upload, buffer), 0, self._read_and_upload_limit)

    def _has_reads(self) -> bool:
        """Return whether there is something to read; begin another buffer if memory allows it."""
        while self._unread and not self._reads:
            if self._buffers and self._memory + self._unread[0].size > MAX_BUFFER_BYTES:
                break
            buffer, reads = self._writer.begin(self._unread.popleft())
            self._add_memory(buffer, 1)
            self._reads.extend(reads)
            if not reads:
                self._filled.append(buffer)
        return bool(self._reads)

    def _read(self, read: Read) -> None:
        self._writer.read(read)
        buffer = read.buffer
        with self._changed:
            buffer.reads_left -= 1
            if buffer.reads_left:
                return
        self._writer.add_checksums(buffer)
        with self._changed:
            self._filled.append(buffer)

    def _upload(self, buffer: PartBuffer) -> None:
        self._writer.upload(buffer)
        with self._changed:
            self._add_memory(buffer, -1)
            if self._unread:
                self._writer.reuse(buffer)

    def _add_memory(self, buffer: PartBuffer, sign: int) -> None:
        self._memory += sign * len(buffer.memory)
        self._buffers += 0 if buffer.needs_all_checksums else sign


def _limit(last: int, maximum: int) -> AdaptiveLimit:
    # Half of the last limit, so that every build has to confirm the last step.
    return AdaptiveLimit(start=min(max(last // 2, INITIAL_CONCURRENCY), maximum), maximum=maximum)
