"""Counters of archives: added by the workers, exported to Prometheus by the API."""

from __future__ import annotations

from redis import Redis

from api.collectors import StoreCollector, archives
from api.metrics import exposition
from common.job_store.archive_totals import ArchiveTotals


def test_counts_of_all_workers_are_added(redis: Redis) -> None:
    ArchiveTotals(redis).add({"composed": 1, "copied": 1000, "resumed": 0})
    ArchiveTotals(redis).add({"composed": 1, "copied": 500})
    assert ArchiveTotals(redis).read() == {"composed": 2, "copied": 1500}


def test_counters_that_were_never_increased_are_exported_as_zero(redis: Redis) -> None:
    totals = ArchiveTotals(redis)
    totals.add({"composed": 2, "copied": 1500, "single_files": 1, "single_file_bytes": 7})
    text = exposition(StoreCollector("archives", lambda: archives(totals.read()))).decode()
    assert 'longhaul_archives_total{method="composed"} 2.0' in text
    assert 'longhaul_archives_total{method="found"} 0.0' in text
    assert 'longhaul_archive_bytes_total{method="copied"} 1500.0' in text
    assert 'longhaul_archive_bytes_total{method="resumed"} 0.0' in text
    assert 'longhaul_archives_total{method="delivered_as_is"} 1.0' in text
    assert 'longhaul_archive_bytes_total{method="delivered_as_is"} 7.0' in text
