"""Tests for the Kubernetes resources that kustomize renders from deploy/k8s.

``resources`` are those of the example, which has every component but one of the two autoscalers.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from api import gunicorn_conf
from bench import capacity
from common.bootstrap import DATABASE_CONNECTIONS
from common.settings import Settings
from tests.contracts.deployment import BIN, ROOT, nginx_seconds, run

VERSION = "1.37"
#: Resources that Kubernetes itself does not define.
SCHEMAS = {
    kind: Path(__file__).parent / f"{name}.schema.yaml"
    for kind, name in (
        ("ScaledObject", "scaled_object"),
        ("PodMonitor", "pod_monitor"),
        ("PrometheusRule", "prometheus_rule"),
    )
}


K8S = ROOT / "deploy" / "k8s"
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
#: Connections of a worker and an API process at most, and how many the servers accept by default.
CONNECTIONS = {
    "valkey": (capacity.WORKER_TO_VALKEY, capacity.API_TO_VALKEY, capacity.MAX_CLIENTS),
    "postgres": (capacity.WORKER_TO_POSTGRES, DATABASE_CONNECTIONS, capacity.MAX_CONNECTIONS),
}


def render(path: str | Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(run(BIN / "kubectl", "kustomize", path)))


def of_kind(resources: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["kind"] in kinds]


def validate(resource: dict[str, Any]) -> None:
    if schema := SCHEMAS.get(resource["kind"]):
        jsonschema.Draft202012Validator(yaml.safe_load(schema.read_text())).validate(resource)
    else:
        kubernetes_validate.validate(resource, VERSION, strict=True)


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    return render("deploy/k8s/example")


@pytest.fixture(scope="module")
def deployments(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["metadata"]["name"]: r for r in resources if r["kind"] == "Deployment"}


@pytest.mark.parametrize("path", ["base", "example"])
def test_resources_match_their_schemas(path: str) -> None:
    rendered = render(K8S / path)
    for resource in rendered:
        validate(resource)
    assert len(rendered) > 15


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_works_alone(component: str, tmp_path: Path) -> None:
    for part in ("base", "components", "example/values.yaml"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (K8S / part).is_dir() else shutil.copy
        copy(K8S / part, tmp_path / part)
    overlay = {
        "resources": ["../base", "values.yaml"],
        "components": [f"../components/{component}"],
        "namespace": "longhaul",
    }
    (tmp_path / "example" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    base = {(r["kind"], r["metadata"]["name"]) for r in render(tmp_path / "base")}
    added = [
        resource
        for resource in render(tmp_path / "example")
        if (resource["kind"], resource["metadata"]["name"]) not in base
    ]
    assert added
    for resource in added:
        validate(resource)
        assert resource["metadata"]["namespace"] == "longhaul"


def test_the_example_has_every_component_and_its_values_reach_the_resources(
    resources: list[dict[str, Any]],
) -> None:
    example = yaml.safe_load((K8S / "example" / "kustomization.yaml").read_text())
    used = {Path(path).name for path in example["components"]}
    assert set(COMPONENTS) - used == {"hpa"}
    rendered = yaml.safe_dump_all(resources)
    values = yaml.safe_load((K8S / "example" / "values.yaml").read_text())["data"]
    for value in values.values():
        assert value in rendered
    # What the replacements replace.
    assert not re.search(r": value$|- value$", rendered, re.MULTILINE)
    assert not [r for r in resources if r["metadata"]["name"] == "longhaul-values"]
    images = {
        container["image"]
        for deployment in of_kind(resources, "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert all(image.startswith("registry.example.com/longhaul/") for image in images)
    (secret,) = of_kind(resources, "Secret")
    for name in ("api", "worker"):
        (deployment,) = [
            r for r in of_kind(resources, "Deployment") if r["metadata"]["name"] == name
        ]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert {"secretRef": {"name": secret["metadata"]["name"]}} in container["envFrom"]


def test_workers_scale_by_a_metric_that_exists(resources: list[dict[str, Any]]) -> None:
    (scaled,) = of_kind(resources, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    metric = trigger["metadata"]["valueLocation"]
    assert f"| `{metric}` | gauge | - |" in (ROOT / "docs" / "observability.md").read_text()
    hpa = yaml.safe_load((K8S / "components" / "hpa" / "worker.yaml").read_text())
    (external,) = [each["external"] for each in hpa["spec"]["metrics"]]
    assert external["metric"]["name"] == metric
    slots = str(Settings().worker_concurrency)
    assert trigger["metadata"]["targetValue"] == external["target"]["averageValue"] == slots


def test_workers_do_not_shrink_while_the_metric_is_unavailable(
    resources: list[dict[str, Any]],
) -> None:
    (scaled,) = of_kind(resources, "ScaledObject")
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_maximum_replicas_fit_the_default_connection_limits(
    resources: list[dict[str, Any]],
) -> None:
    (scaled,) = of_kind(resources, "ScaledObject")
    (api,) = of_kind(resources, "HorizontalPodAutoscaler")
    hpa = yaml.safe_load((K8S / "components" / "hpa" / "worker.yaml").read_text())
    workers = scaled["spec"]["maxReplicaCount"]
    assert hpa["spec"]["maxReplicas"] == workers
    for server, (per_worker, per_api, limit) in CONNECTIONS.items():
        connections = workers * per_worker + api["spec"]["maxReplicas"] * per_api
        assert connections <= limit, server


def test_pods_spread_over_zones_and_hosts(deployments: dict[str, dict[str, Any]]) -> None:
    for name, deployment in deployments.items():
        constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in constraints] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for constraint in constraints:
            labels = constraint["labelSelector"]["matchLabels"]
            assert labels == {"app.kubernetes.io/name": name}


def test_nginx_connects_to_each_pod_of_the_api(
    resources: list[dict[str, Any]], deployments: dict[str, dict[str, Any]]
) -> None:
    services = {r["metadata"]["name"]: r["spec"] for r in of_kind(resources, "Service")}
    (container,) = deployments["nginx"]["spec"]["template"]["spec"]["containers"]
    (upstream,) = [each["value"] for each in container["env"] if each["name"] == "API_UPSTREAM"]
    name, namespace, *_ = upstream.split(".")
    assert services[name]["clusterIP"] == "None"
    assert services[name]["selector"] == {"app.kubernetes.io/name": "api"}
    assert {r["metadata"]["namespace"] for r in of_kind(resources, "Service")} == {namespace}


def test_the_alerts_of_the_operator_are_those_of_plain_prometheus(
    resources: list[dict[str, Any]],
) -> None:
    (rules,) = of_kind(resources, "PrometheusRule")
    plain = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    assert rules["spec"]["groups"] == plain["groups"]


def test_pod_monitors_set_the_jobs_that_the_alerts_expect(
    resources: list[dict[str, Any]], deployments: dict[str, dict[str, Any]]
) -> None:
    plain = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    jobs = set()
    for monitor in of_kind(resources, "PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        (relabeling,) = endpoint["relabelings"]
        jobs.add(relabeling["replacement"])
        name = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert jobs == {job["job_name"] for job in plain["scrape_configs"]}


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


def test_nginx_is_ready_without_an_api(deployments: dict[str, dict[str, Any]]) -> None:
    """Otherwise clients get no response at all while the job store is unavailable."""
    (nginx,) = deployments["nginx"]["spec"]["template"]["spec"]["containers"]
    assert "httpGet" not in nginx["readinessProbe"]
    assert nginx["readinessProbe"]["tcpSocket"] == {"port": "http"}


def test_settings_that_nginx_applies_reach_it(
    resources: list[dict[str, Any]], deployments: dict[str, dict[str, Any]]
) -> None:
    text = (ROOT / "nginx" / "entrypoint.sh").read_text()
    variables = set(re.findall(r"\$\{([A-Z_]+):=", text))
    shared = variables & {name.upper() for name in Settings.__dataclass_fields__}
    assert shared == {"CORS_ORIGINS", "MAX_BODY_BYTES"}
    (container,) = deployments["nginx"]["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("valueFrom") for each in container["env"]}
    (settings,) = [
        name
        for r in of_kind(resources, "ConfigMap")
        if (name := r["metadata"]["name"]).startswith("longhaul-settings")
    ]
    for name in shared:
        reference = {"name": settings, "key": name, "optional": True}
        assert environment[name] == {"configMapKeyRef": reference}


def test_pods_reach_the_databases_that_the_documents_recommend(
    resources: list[dict[str, Any]],
) -> None:
    (policy,) = [r for r in resources if r["metadata"]["name"] == "databases-and-internet"]
    ports = {port["port"] for port in policy["spec"]["egress"][0]["ports"]}
    # Valkey, PostgreSQL and PgBouncer.
    assert {6379, 5432, 6432} <= ports


def test_the_example_stores_archives_in_the_storage_that_links_lead_to(
    resources: list[dict[str, Any]],
) -> None:
    (settings,) = [
        r["data"]
        for r in of_kind(resources, "ConfigMap")
        if r["metadata"]["name"].startswith("longhaul-settings")
    ]
    assert settings["S3_ENDPOINT_URL"] == settings["S3_PUBLIC_ENDPOINT_URL"]


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
