"""History has each counted download once, without the address of the client."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, delete, func, update

from common.history import HistoryReader, HistoryWriter
from common.history.tables import DOWNLOADS, JOBS
from common.job_store import download_links, keys
from common.job_store.download_links import DownloadLink, DownloadLinks
from common.job_store.download_log import DownloadLog
from common.job_store.jobs import JobStore
from common.jobs.model import Job
from tests.integration.history.test_api import client_on
from tests.integration.history.test_writer import rows, run
from worker.maintenance.history_recorder import HistoryRecorder


@pytest.fixture
def links(redis: Redis) -> DownloadLinks:
    return DownloadLinks(redis, log_downloads=True)


@pytest.fixture
def finished(jobs: JobStore) -> Job:
    return run(jobs)


@pytest.fixture
def link(links: DownloadLinks, finished: Job) -> DownloadLink:
    unlimited: dict[str, Any] = dict.fromkeys(("expires_in", "max_uses", "ip", "file_name"))
    return links.create(finished.id, finished.user, **unlimited)[1]


def record(recorder: HistoryRecorder) -> None:
    """Record everything, without the pause between two readings of the log."""
    recorder._downloads_at = 0.0
    recorder.step()


def test_downloads_are_recorded_with_link_time_and_kind_of_address(
    recorder: HistoryRecorder,
    reader: HistoryReader,
    links: DownloadLinks,
    link: DownloadLink,
    redis: Redis,
) -> None:
    addresses = ["8.8.8.8", "10.1.2.3", "2606:4700::1", "::ffff:10.1.2.3", "unknown"]
    for address in addresses:
        links.redeem(link, address)
    links.count_download(link.job_id, "192.168.0.7")
    links.redeem(link, "9.9.9.9", only_check=True)
    links.redeem(link, addresses[-1])
    record(recorder)
    found = reader.job_record(link.job_id)
    assert found is not None
    assert [(row["link_id"], row["network"]) for row in found.downloads] == [
        *((link.id, network) for network in ("public", "private", "public", "private", "unknown")),
        (None, "private"),
    ]
    assert found.job.downloads == len(addresses) + 1
    job = redis.hgetall(keys.status(link.job_id))
    assert all(
        int(job["completed_at"]) <= row["at"].timestamp() * 1000 <= int(job["updated_at"])
        for row in found.downloads
    )
    stored = str(redis.xrange(keys.of_partition("downloads", keys.tag_of_job(link.job_id))))
    assert not any(address in stored + str(found) for address in addresses[:-1])


def test_recorded_downloads_leave_the_log_and_are_not_recorded_again(
    recorder: HistoryRecorder, engine: Engine, links: DownloadLinks, link: DownloadLink
) -> None:
    links.redeem(link, "8.8.8.8")
    log = DownloadLog(links._client)
    (download,) = log.read(count=10)
    record(recorder)
    assert log.read(count=10) == []
    # Another process has read it at the same time.
    HistoryWriter(engine).record_downloads([], [download])
    assert len(rows(engine, DOWNLOADS)) == 1


def test_a_failure_of_postgresql_loses_no_download(
    recorder: HistoryRecorder,
    engine: Engine,
    links: DownloadLinks,
    link: DownloadLink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links.redeem(link, "8.8.8.8")
    with monkeypatch.context() as patch:
        patch.setattr(HistoryWriter, "record_downloads", _raise)
        with pytest.raises(ConnectionError):
            record(recorder)
    record(recorder)
    assert len(rows(engine, DOWNLOADS)) == 1


def _raise(*_: object) -> None:
    raise ConnectionError


def test_downloads_of_a_job_that_was_deleted_are_dropped(
    recorder: HistoryRecorder, engine: Engine, links: DownloadLinks, link: DownloadLink
) -> None:
    links.redeem(link, "8.8.8.8")
    record(recorder)
    links.redeem(link, "9.9.9.9")
    with engine.begin() as connection:
        connection.execute(delete(JOBS))
    links._client.delete(keys.status(link.job_id))
    record(recorder)
    assert rows(engine, DOWNLOADS) == []
    assert DownloadLog(links._client).read(count=10) == []


def test_downloads_are_deleted_with_their_job(
    recorder: HistoryRecorder, engine: Engine, links: DownloadLinks, link: DownloadLink
) -> None:
    links.redeem(link, "8.8.8.8")
    record(recorder)
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(updated_at=func.now() - timedelta(days=2)))
    assert HistoryWriter(engine).delete_old(timedelta(days=1)) == 1
    assert rows(engine, DOWNLOADS) == []


def test_a_job_that_postgresql_rejects_does_not_block_the_downloads_of_others(
    recorder: HistoryRecorder,
    engine: Engine,
    links: DownloadLinks,
    link: DownloadLink,
    finished: Job,
    jobs: JobStore,
) -> None:
    record(recorder)
    bad = run(jobs)
    links._client.hset(keys.status(bad.id), "total_bytes", str(2**70))
    links.count_download(bad.id, "8.8.8.8")
    links.count_download(finished.id, "8.8.8.8")
    record(recorder)
    assert {row["job_id"] for row in rows(engine, DOWNLOADS)} >= {finished.id}
    assert DownloadLog(links._client).read(count=10) == []


def test_the_log_and_the_record_of_a_job_are_limited_but_the_count_is_not(
    recorder: HistoryRecorder,
    reader: HistoryReader,
    links: DownloadLinks,
    finished: Job,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download_links, "MAX_LOGGED", 3)
    for _ in range(5):
        links.count_download(finished.id, "8.8.8.8")
    record(recorder)
    found = reader.job_record(finished.id)
    assert found is not None
    assert (len(found.downloads), found.job.downloads) == (3, 5)


def test_without_a_history_nothing_is_logged(redis: Redis, link: DownloadLink) -> None:
    DownloadLinks(redis).redeem(link, "8.8.8.8")
    assert DownloadLog(redis).read(count=10) == []


def test_operators_see_the_downloads_of_a_job(
    recorder: HistoryRecorder, redis: Redis, engine: Engine, finished: Job
) -> None:
    client = client_on(redis, engine)
    headers = {"X-User-Id": finished.user}
    url = f"/v1/download/{finished.id}"
    created: Any = client.post(f"{url}/links", json={}, headers=headers).json
    client.get(url, headers=headers)
    client.get(created["url"].removeprefix("http://localhost"))
    record(recorder)
    operator = {"Authorization": "Bearer t"}
    body: Any = client.get(f"/v1/admin/jobs/{finished.id}", headers=operator).json
    assert [(each["linkId"], each["network"]) for each in body["downloads"]] == [
        (None, "private"),
        (created["linkId"], "private"),
    ]
    assert all(each["at"].endswith("Z") for each in body["downloads"])
    assert body["job"]["downloads"] == 2
