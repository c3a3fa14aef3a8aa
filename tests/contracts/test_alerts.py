"""Every alert fires for its cause and stays silent in a similar situation that is no problem."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contracts.deployment import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}
PROMTOOL = shutil.which("promtool")

#: Time series by name and labels, in the notation of promtool, one value a minute.
Series = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """``fires`` and ``silent``: what Prometheus scrapes in the two situations."""

    fires: Series
    silent: Series
    summary: str
    #: When it is evaluated, minutes.
    at: int = 20
    labels: dict[str, str] | None = None


def attempts(completed: str, failed: str, retried: str = "0x60") -> Series:
    return {
        'longhaul_attempts_total{outcome="completed", code=""}': completed,
        'longhaul_attempts_total{outcome="failed", code="FILE_NOT_FOUND"}': failed,
        'longhaul_attempts_total{outcome="retried", code="NETWORK_ERROR"}': retried,
        'longhaul_alert_threshold{setting="ALERT_SUCCESS_RATE"}': "0.95x60",
    }


def waiting(high: str, normal: str) -> Series:
    return {
        'longhaul_jobs_waiting{priority="high", instance="a"}': high,
        'longhaul_jobs_waiting{priority="normal", instance="a"}': normal,
        # The other API process reports the same jobs.
        'longhaul_jobs_waiting{priority="normal", instance="b"}': normal,
        'longhaul_alert_threshold{setting="ALERT_WAITING_JOBS", instance="a"}': "1000x60",
        'longhaul_alert_threshold{setting="QUEUE_MAX", instance="a"}': "10000x60",
    }


def servers(name: str, used: str, limit: str) -> Series:
    used_name = f"{name}_bytes" if name == "memory" else name
    limit_name = "memory_limit_bytes" if name == "memory" else "connections_limit"
    return {
        f'longhaul_job_store_{used_name}{{server="primary", instance="a"}}': used,
        f'longhaul_job_store_{limit_name}{{server="primary", instance="a"}}': limit,
    }


def requests(ok: str, failed: str) -> Series:
    name = 'longhaul_http_request_seconds_count{method="GET", route="/", status='
    return {f'{name}"200"}}': ok, f'{name}"503"}}': failed}


def accepts(fast: str, slow: str, status: str = "202") -> Series:
    name = (
        'longhaul_http_request_seconds_bucket{method="POST", route="/v1/download/initiate", '
        f'status="{status}", le='
    )
    return {f'{name}"0.1"}}': fast, f'{name}"0.5"}}': slow, f'{name}"+Inf"}}': slow}


def storage(ok: str, failed: str) -> Series:
    name = 'longhaul_object_storage_seconds_count{operation="GetObject", status='
    return {f'{name}"200"}}': ok, f'{name}"503"}}': failed}


CASES = {
    "LonghaulJobStoreDown": Case(
        # One API process that cannot reach it is no outage.
        fires={'longhaul_job_store_up{instance="a"}': "1 0x30"},
        silent={
            'longhaul_job_store_up{instance="a"}': "0x30",
            'longhaul_job_store_up{instance="b"}': "1x30",
        },
        summary="The job store is unavailable",
    ),
    "LonghaulJobStoreReadOnly": Case(
        fires={
            "longhaul_job_store_up": "1x30",
            'longhaul_dependency_up{dependency="redis"}': "0x30",
        },
        # That is LonghaulJobStoreDown.
        silent={
            "longhaul_job_store_up": "0x30",
            'longhaul_dependency_up{dependency="redis"}': "0x30",
        },
        summary="The job store does not accept writes",
    ),
    "LonghaulJobStoreMemory": Case(
        fires=servers("memory", "900x30", "1000x30"),
        # Without a limit there is no share.
        silent={
            **servers("memory", "700x30", "1000x30"),
            'longhaul_job_store_memory_bytes{server="unlimited"}': "900x30",
            'longhaul_job_store_memory_limit_bytes{server="unlimited"}': "0x30",
        },
        summary="The job store (primary) uses 90% of its memory",
        labels={"server": "primary"},
    ),
    "LonghaulJobStoreConnections": Case(
        fires=servers("connections", "9000x30", "10000x30"),
        silent=servers("connections", "7000x30", "10000x30"),
        summary="The job store (primary) has 90% of the connections that it accepts",
        labels={"server": "primary"},
    ),
    "LonghaulApiDown": Case(
        fires={'up{job="longhaul-api", instance="a"}': "1 0x30"},
        silent={
            'up{job="longhaul-api", instance="a"}': "0x30",
            'up{job="longhaul-api", instance="b"}': "1x30",
        },
        summary="Prometheus cannot scrape any API process",
    ),
    "LonghaulApiProcessDown": Case(
        fires={
            'up{job="longhaul-api", instance="a"}': "1x30",
            'up{job="longhaul-api", instance="b"}': "1x5 0x30",
        },
        silent={
            'up{job="longhaul-api", instance="a"}': "1x30",
            # Gone after a scale-down: Prometheus scrapes it no longer.
            'up{job="longhaul-api", instance="b"}': "1x5 stale",
            # A process that is replaced within a minute.
            'longhaul_api_processes{instance="a"}': "2x18 1 2x10",
            'longhaul_api_processes_expected{instance="a"}': "2x30",
        },
        summary="API processes of b are down",
        labels={"job": "longhaul-api", "instance": "b"},
    ),
    "LonghaulNoWorkers": Case(
        fires={"longhaul_workers": "2 0x30"},
        silent={"longhaul_workers": "2x18 0 1x20"},
        summary="No worker has sent a heartbeat for a minute",
    ),
    "LonghaulBacklog": Case(
        fires={
            'longhaul_oldest_wait_seconds{priority="normal"}': "0+60x30",
            "longhaul_queue_paused": "0x30",
        },
        silent={
            'longhaul_oldest_wait_seconds{priority="normal"}': "0+60x30",
            "longhaul_queue_paused": "1x30",
        },
        summary="A normal-priority job has been waiting for 20m 0s",
        labels={"priority": "normal"},
    ),
    "LonghaulManyWaiting": Case(
        fires=waiting("500x30", "600x30"),
        silent=waiting("400x30", "600x30"),
        summary="1.1k jobs are waiting",
    ),
    "LonghaulQueueNearlyFull": Case(
        fires=waiting("0x30", "8500x30"),
        silent=waiting("0x30", "7900x30"),
        summary="8.5k jobs are waiting; at QUEUE_MAX new jobs are rejected",
    ),
    "LonghaulLowSuccessRate": Case(
        fires=attempts("0+9x60", "0+1x60"),
        silent=attempts("0+96x60", "0+4x60"),
        at=40,
        summary="Only 90% of the jobs of the last 15 minutes succeeded",
    ),
    "LonghaulRetries": Case(
        fires=attempts("0+5x60", "0x60", "0+5x60"),
        silent=attempts("0+8x60", "0x60", "0+2x60"),
        at=40,
        summary="50% of all attempts had to be retried",
    ),
    "LonghaulDeadLetters": Case(
        fires={"longhaul_dead_letters": "3x15 5x30"},
        silent={"longhaul_dead_letters": "5x15 3x30"},
        summary="New dead letters (5 in total)",
    ),
    "LonghaulJobStoreDataLost": Case(
        fires={'longhaul_jobs_ended_total{status="completed"}': "100+1x17 0+1x30"},
        silent={
            'longhaul_jobs_ended_total{status="completed", instance="a"}': "100+1x60",
            # An API process that started later.
            'longhaul_jobs_ended_total{status="completed", instance="b"}': "_x10 110+1x50",
        },
        summary="The job store has lost data",
    ),
    "LonghaulWorkersLost": Case(
        fires={'longhaul_recoveries_total{cause="worker_lost"}': "0+1x30"},
        silent={
            'longhaul_recoveries_total{cause="worker_lost"}': "0x10 1 2 3 4x30",
            'longhaul_recoveries_total{cause="message_lost"}': "0+5x30",
        },
        summary="15 jobs lost their worker within 15 minutes",
    ),
    "LonghaulQueuePaused": Case(
        fires={"longhaul_queue_paused": "1x90"},
        silent={"longhaul_queue_paused": "1x50 0x1 1x40"},
        at=70,
        summary="The queue has been paused for an hour",
    ),
    "LonghaulStateLogBacklog": Case(
        fires={'longhaul_state_log_backlog{group="history"}': "12000x30"},
        silent={'longhaul_state_log_backlog{group="history"}': "9000x30"},
        summary="history has 12k unread entries in the state log",
        labels={"group": "history"},
    ),
    "LonghaulStateLogLag": Case(
        fires={'longhaul_state_log_lag_seconds{group="webhooks"}': "0+60x30"},
        silent={'longhaul_state_log_lag_seconds{group="webhooks"}': "200x30"},
        summary="webhooks is 20m 0s behind",
        labels={"group": "webhooks"},
    ),
    "LonghaulHistoryDown": Case(
        fires={'longhaul_dependency_up{dependency="history"}': "0x30"},
        # Without DATABASE_URL there is no such series.
        silent={'longhaul_dependency_up{dependency="storage"}': "0x30"},
        summary="PostgreSQL is unavailable, so history is not recorded",
    ),
    "LonghaulApiErrors": Case(
        fires=requests("0+600x30", "0+60x30"),
        # The job store was unavailable a moment ago: that is LonghaulJobStoreDown.
        silent={
            **requests("0+600x30", "0+60x30"),
            'longhaul_dependency_up{dependency="redis"}': "1x15 0 0 1x20",
        },
        summary="9.091% of all responses are server errors",
    ),
    "LonghaulSlowAccept": Case(
        fires=accepts("0+10x30", "0+600x30"),
        # Rejected requests do not count as accepted.
        silent={
            **accepts("0+600x30", "0+600x30"),
            **accepts("0+10x30", "0+600x30", status="503"),
        },
        summary="Accepting a job takes 495.9ms (p99)",
    ),
    "LonghaulStorageDown": Case(
        fires={
            'longhaul_dependency_up{dependency="storage"}': "1x30",
            # Open and half-open alternate during an outage.
            'longhaul_circuit_breaker_state{service="storage"}': "0x9 2 1 2 1 2 1 2 1 2 1 2 1 2",
        },
        silent={
            'longhaul_dependency_up{dependency="storage", instance="a"}': "0x30",
            'longhaul_dependency_up{dependency="storage", instance="b"}': "1x30",
            'longhaul_circuit_breaker_state{service="storage"}': "0x30",
            'longhaul_circuit_breaker_state{service="files.example"}': "2x30",
        },
        summary="The object storage is unavailable",
    ),
    "LonghaulSourceDown": Case(
        fires={'longhaul_circuit_breaker_state{service="files.example"}': "2x30"},
        silent={'longhaul_circuit_breaker_state{service="storage"}': "2x30"},
        summary="The file source files.example is unavailable",
        labels={"service": "files.example"},
    ),
    "LonghaulStorageErrors": Case(
        fires=storage("0+600x30", "0+60x30"),
        # The storage was unavailable a moment ago: that is LonghaulStorageDown.
        silent={
            **storage("0+600x30", "0+60x30"),
            'longhaul_circuit_breaker_state{service="storage"}': "0x15 2 1 0x20",
        },
        summary="9.091% of the object storage requests fail",
    ),
}


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")
@pytest.mark.parametrize("name", CASES)
def test_alert_fires_and_stays_silent(name: str, tmp_path: Path) -> None:
    case, rule = CASES[name], RULES[name]
    firing = {
        "exp_labels": {**rule["labels"], **(case.labels or {})},
        "exp_annotations": {
            "summary": case.summary,
            "description": rule["annotations"]["description"],
        },
    }
    tests = tmp_path / "alerts.yml"
    tests.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(ALERTS)],
                "evaluation_interval": "1m",
                "tests": [
                    _test(name, case.fires, case.at, [firing]),
                    _test(name, case.silent, case.at, []),
                ],
            }
        )
    )
    result = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tests)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _test(name: str, series: Series, at: int, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": expected}],
    }
