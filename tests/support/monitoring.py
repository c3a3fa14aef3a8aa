"""A real Prometheus and Alertmanager that watch a running system with the shipped rules."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from stack.components import ROOT
from stack.process import Process, accepts_connections, free_port, wait_until

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
#: How much faster than in production an alert fires after its cause.
SPEED = 30
#: Depends on the speed of the machine, also while nothing is wrong.
IGNORED = {"LonghaulSlowAccept"}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Queries Prometheus and Alertmanager."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        response = httpx.get(
            f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=20
        )
        assert response.status_code == 200, f"{expression}: {response.text}"
        found: list[dict[str, Any]] = response.json()["data"]["result"]
        return found

    def alerts(self) -> set[str]:
        """Return the alerts that Alertmanager would send now: not those that it inhibits."""
        response = httpx.get(
            f"{self.alertmanager}/api/v2/alerts",
            params={"active": "true", "inhibited": "false", "silenced": "false"},
            timeout=20,
        )
        found = {alert["labels"]["alertname"] for alert in response.raise_for_status().json()}
        return found - IGNORED


@contextmanager
def monitoring(
    directory: Path, targets: Mapping[str, Sequence[str]], webhook_url: str
) -> Iterator[Monitoring]:
    """Run both servers. ``targets``: the addresses of each scrape job."""
    prometheus, alertmanager = free_port(), free_port()
    with ExitStack() as stack:
        for process in (
            _start_alertmanager(directory, alertmanager, webhook_url),
            _start_prometheus(directory, prometheus, alertmanager, targets),
        ):
            stack.callback(process.kill)
        for port in (prometheus, alertmanager):
            wait_until(lambda port=port: accepts_connections(port), f"port {port}")  # type: ignore[misc]
        yield Monitoring(
            prometheus=f"http://127.0.0.1:{prometheus}",
            alertmanager=f"http://127.0.0.1:{alertmanager}",
        )


def _start_prometheus(
    directory: Path, port: int, alertmanager: int, targets: Mapping[str, Sequence[str]]
) -> Process:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert {job["job_name"] for job in config["scrape_configs"]} == set(targets)
    config["global"] = {
        "scrape_interval": "2s",
        "scrape_timeout": "2s",
        "evaluation_interval": "1s",
    }
    config["alerting"]["alertmanagers"] = [
        {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
    ]
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": list(addresses)}]}
        for name, addresses in targets.items()
    ]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    (directory / "alerts.yml").write_text(re.sub(r"\bfor: (\d+)([smh])\n", _faster, rules))
    return Process(
        "prometheus",
        [
            str(PROMETHEUS),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        output=directory / "prometheus.log",
    )


def _faster(match: re.Match[str]) -> str:
    return f"for: {max(1, int(match[1]) * _SECONDS[match[2]] // SPEED)}s\n"


def _start_alertmanager(directory: Path, port: int, webhook_url: str) -> Process:
    template = shutil.copytree(ROOT / "deploy/alertmanager", directory / "template")
    config = template / "alertmanager.yml"
    # Messages about one outage come before the next one.
    config.write_text(re.sub(r"(group_(?:wait|interval)): \w+", r"\1: 1s", config.read_text()))
    return Process(
        "alertmanager",
        [
            str(template / "start.sh"),
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        env={
            **os.environ,
            "ALERTMANAGER": str(ALERTMANAGER),
            "ALERTMANAGER_CONFIG_DIRECTORY": str(directory),
            "ALERT_WEBHOOK_URL": webhook_url,
        },
        output=directory / "alertmanager.log",
    )
