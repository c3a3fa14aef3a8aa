"""docs/observability.md, the alert rules and the dashboard refer only to metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fakeredis
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric as PrometheusMetric

from api import metrics as api_metrics
from api.app import create_app
from api.dependencies import EXTENSION
from common.bootstrap import assemble
from common.job_store.bucket_size import BucketSize, MeasuredBucketSize
from common.job_store.server_state import ServerState
from common.job_store.state_log import MAX_BYTES
from common.object_storage import ObjectStorage
from common.observability import metrics as common_metrics
from common.settings import Settings
from tests.unit.api.conftest import FakeStorage
from worker import metrics as worker_metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "longhaul.json"
#: Labels that Prometheus adds to every series.
TARGET = {"instance", "job"}
PROMTOOL = shutil.which("promtool")
SUFFIXES = {
    "counter": {"_total"},
    "gauge": {""},
    "histogram": {"_bucket", "_count", "_sum"},
}


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> set[str]:
        return {self.name + suffix for suffix in SUFFIXES[self.kind]}

    @property
    def row(self) -> str:
        name = self.name + "_total" if self.kind == "counter" else self.name
        labels = ", ".join(f"`{label}`" for label in self.labels) or "-"
        return f"| `{name}` | {self.kind} | {labels} | {self.meaning} |"


def metrics() -> list[Metric]:
    found = [
        Metric(
            wrapper._name, str(wrapper._type), tuple(wrapper._labelnames), wrapper._documentation
        )
        for module in (api_metrics, worker_metrics, common_metrics)
        for wrapper in vars(module).values()
        if isinstance(wrapper, MetricWrapperBase)
    ]
    for family in _collected():
        labels = tuple(family.samples[0].labels)
        found.append(Metric(family.name, family.type, labels, family.documentation))
    return found


def _collected() -> list[PrometheusMetric]:
    """Return all metrics that the API reads for a scrape."""
    redis = fakeredis.FakeRedis(decode_responses=True)
    MeasuredBucketSize(redis).publish(BucketSize(objects=1, bytes=1, complete=True))
    services = assemble(Settings(admin_token="secret"), redis, cast("ObjectStorage", FakeStorage()))
    with pytest.MonkeyPatch.context() as patch:
        # fakeredis has no INFO.
        patch.setattr("api.app.read_servers", lambda _: [SERVER])
        app = create_app(services)
        collectors = app.extensions[EXTENSION].collectors
        return [family for collector in collectors for family in collector.collect()]


SERVER = ServerState(name="primary", memory=1, memory_limit=2, connections=3, connection_limit=4)
METRICS = metrics()
SERIES = {series: metric for metric in METRICS for series in metric.series}


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [rule["expr"] for rule in rules()] + queries


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_documented(metric: Metric) -> None:
    assert metric.row in PAGE


def test_every_documented_metric_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `longhaul_")]
    assert sorted(rows) == sorted(metric.row for metric in METRICS)


def test_rules_and_dashboard_query_existing_series_and_labels() -> None:
    queries = expressions()
    assert len(queries) > 40
    for expression in queries:
        names = set(re.findall(r"\blonghaul_\w+", re.sub(r'"[^"]*"', "", expression)))
        assert names <= SERIES.keys(), expression
        for name, matchers in re.findall(r"\b(longhaul_\w+){([^}]*)}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert labels <= set(SERIES[name].labels), expression
        by = {
            label
            for found in re.findall(r"by \(([^)]*)\)", expression)
            for label in found.split(", ")
        }
        existing = {label for name in names for label in SERIES[name].labels} | TARGET | {"le"}
        assert by <= existing, expression


def test_alerts_and_documents_name_the_limit_of_the_state_log() -> None:
    limit = f"{MAX_BYTES // 2**20} MiB"
    descriptions = {rule["alert"]: rule["annotations"]["description"] for rule in rules()}
    for name in ("LonghaulStateLogBacklog", "LonghaulHistoryDown"):
        assert f"{limit} per partition" in descriptions[name]
    assert f"up to {limit} per partition" in PAGE
    capacity = (ROOT / "docs" / "capacity.md").read_text()
    assert f"until the state log of a partition takes {limit}" in capacity


def test_every_metric_appears_on_the_dashboard_or_in_an_alert() -> None:
    queries = " ".join(expressions())
    unused = {metric.name for metric in METRICS if not any(s in queries for s in metric.series)}
    assert unused == set()


def test_every_alert_has_a_severity_a_summary_a_description_and_documentation() -> None:
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Longhaul[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"| `{rule['alert']}` |" in PAGE
    assert {"LonghaulBacklog", "LonghaulLowSuccessRate", "LonghaulNoWorkers"} <= {
        rule["alert"] for rule in rules()
    }


@pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")
@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", "deploy/prometheus/prometheus.yml"),
        ("test", "rules", "tests/contracts/alerts.test.yml"),
    ],
)
def test_promtool_accepts_the_configuration_and_the_alert_tests(command: tuple[str, ...]) -> None:
    result = subprocess.run(
        [str(PROMTOOL), *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_dashboard_panels_have_units_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["fieldConfig"]["defaults"]["unit"]
