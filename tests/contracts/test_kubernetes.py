"""Tests for the Kubernetes resources that kustomize renders from deploy/k8s."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from api import gunicorn_conf
from api.schemas.responses import StatisticsSchema
from common.settings import Settings
from tests.contracts.deployment import BIN, nginx_seconds, run

VERSION = "1.37"
SCALED_OBJECT = Path(__file__).parent / "scaled_object.schema.yaml"


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    rendered = run(BIN / "kubectl", "kustomize", "deploy/k8s")
    return list(yaml.safe_load_all(rendered))


@pytest.fixture(scope="module")
def deployments(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["metadata"]["name"]: r for r in resources if r["kind"] == "Deployment"}


def test_resources_match_the_kubernetes_schemas(resources: list[dict[str, Any]]) -> None:
    checked = [r for r in resources if r["kind"] != "ScaledObject"]
    for resource in checked:
        kubernetes_validate.validate(resource, VERSION, strict=True)
    assert len(checked) > 10


def test_scaled_object_matches_the_keda_schema(resources: list[dict[str, Any]]) -> None:
    (scaled,) = [r for r in resources if r["kind"] == "ScaledObject"]
    schema = yaml.safe_load(SCALED_OBJECT.read_text())
    jsonschema.Draft202012Validator(schema).validate(scaled)
    formula = set(re.findall(r"[a-z_]+", scaled["spec"]["advanced"]["scalingModifiers"]["formula"]))
    assert formula == {trigger["name"] for trigger in scaled["spec"]["triggers"]}


def test_keda_reads_members_that_the_api_returns(resources: list[dict[str, Any]]) -> None:
    (scaled,) = [r for r in resources if r["kind"] == "ScaledObject"]
    members = {field.data_key or name for name, field in StatisticsSchema().fields.items()}
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["metadata"]["valueLocation"] in members


def test_pods_run_without_root_capabilities_or_a_writable_root_file_system(
    deployments: dict[str, dict[str, Any]],
) -> None:
    assert set(deployments) == {"nginx", "api", "worker"}
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])


def test_api_probes_use_the_health_endpoints(deployments: dict[str, dict[str, Any]]) -> None:
    (api,) = deployments["api"]["spec"]["template"]["spec"]["containers"]
    assert api["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert api["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_termination_grace_periods_cover_draining_and_open_requests(
    deployments: dict[str, dict[str, Any]],
) -> None:
    def grace(name: str) -> int:
        seconds: int = deployments[name]["spec"]["template"]["spec"][
            "terminationGracePeriodSeconds"
        ]
        return seconds

    assert grace("worker") > Settings().drain_grace
    assert grace("api") > _pre_stop_seconds(deployments["api"]) + gunicorn_conf.graceful_timeout
    assert grace("nginx") > _pre_stop_seconds(deployments["nginx"]) + nginx_seconds(
        "nginx.conf", "worker_shutdown_timeout"
    )


def _pre_stop_seconds(deployment: dict[str, Any]) -> int:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    seconds: int = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    return seconds


def test_every_scaled_deployment_has_a_disruption_budget(
    resources: list[dict[str, Any]],
) -> None:
    budgets = {r["metadata"]["name"] for r in resources if r["kind"] == "PodDisruptionBudget"}
    assert budgets == {"nginx", "api", "worker"}


def test_autoscaled_deployments_do_not_set_replicas(
    resources: list[dict[str, Any]], deployments: dict[str, dict[str, Any]]
) -> None:
    scalers = [r for r in resources if r["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    scaled = {r["spec"]["scaleTargetRef"]["name"] for r in scalers}
    assert scaled == {"api", "worker"}
    assert not [name for name in scaled if "replicas" in deployments[name]["spec"]]


def test_scrape_annotations_name_an_open_container_port(
    resources: list[dict[str, Any]], deployments: dict[str, dict[str, Any]]
) -> None:
    policies = {r["metadata"]["name"]: r for r in resources if r["kind"] == "NetworkPolicy"}
    for name in ("api", "worker"):
        template = deployments[name]["spec"]["template"]
        port = int(template["metadata"]["annotations"]["prometheus.io/port"])
        (container,) = template["spec"]["containers"]
        assert port in [named["containerPort"] for named in container["ports"]]
        (ingress,) = [
            rule
            for rule in policies[name]["spec"]["ingress"]
            if {"protocol": "TCP", "port": port} in rule["ports"]
        ]
        # No token is needed there, so only Prometheus may connect.
        assert ingress["from"] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ]
    for name, variable in (("api", "API_METRICS_PORT"), ("worker", "METRICS_PORT")):
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        assert {"name": variable, "value": "9100"} in container["env"]
