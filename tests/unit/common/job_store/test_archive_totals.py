"""What the workers count of their archives, and how Prometheus gets it."""

from __future__ import annotations

from redis import Redis

from api.metrics import archives
from common.job_store.archive_totals import ArchiveTotals


def test_counts_add_up_over_all_workers(redis: Redis) -> None:
    ArchiveTotals(redis).add({"composed": 1, "copied": 1000, "resumed": 0})
    ArchiveTotals(redis).add({"composed": 1, "copied": 500})
    assert ArchiveTotals(redis).read() == {"composed": 2, "copied": 1500}


def test_the_counts_are_shown_with_zeros_for_what_never_happened() -> None:
    text = archives({"composed": 2, "copied": 1500}).decode()
    assert 'longhaul_archives_total{how="composed"} 2.0' in text
    assert 'longhaul_archives_total{how="found"} 0.0' in text
    assert 'longhaul_archive_bytes_total{way="copied"} 1500.0' in text
    assert 'longhaul_archive_bytes_total{way="resumed"} 0.0' in text
