"""Tests for the Dockerfile, compose.yaml and the files next to them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from common.settings import Settings
from tests.contracts.deployment import BIN, ROOT, run

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
#: Services that run images of this repository. Third-party images have their own users and paths.
OUR_SERVICES = ("nginx", "api", "worker")


def _pins(lock: str) -> dict[str, str]:
    pins = re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(pins)


def test_runtime_lock_is_a_subset_of_the_full_lock() -> None:
    full = _pins("requirements.lock")
    runtime = _pins("requirements-runtime.lock")
    assert runtime == {name: full.get(name) for name in runtime}


def test_runtime_lock_contains_all_runtime_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [
        *project["dependencies"],
        *extras["history"],
        *extras["tracing"],
        *extras["sentry"],
    ]
    names = {re.split(r"[\[<>=]", line)[0] for line in requirements}
    assert names <= set(_pins("requirements-runtime.lock"))


def test_images_do_not_run_as_root() -> None:
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    for name in ("app", "nginx"):
        (stage,) = [text for text in stages if text.splitlines()[0].endswith(f" AS {name}")]
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", stage, re.MULTILINE)


def test_the_nginx_image_contains_the_files_of_swagger_ui() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (source,) = re.findall(r"^COPY --from=packages (\S+) /srv/web/docs$", dockerfile, re.MULTILINE)
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=\S+/python:(\d+\.\d+)-", dockerfile, re.MULTILINE)
    package = Path(str(files("flask_swagger_ui")))
    assert source == f"/opt/longhaul/lib/python{python}/site-packages/flask_swagger_ui/dist"
    # The API's own script: a file of the same name in nginx would hide it.
    assert not (package / "dist" / "start.js").exists()
    page = (ROOT / "api" / "pages" / "docs.html").read_text()
    for name in set(re.findall(r'"/docs/([^"]+)"', page)) - {"start.js"}:
        assert (package / "dist" / name).is_file(), name


def test_compose_file_matches_the_compose_specification() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_compose_requires_every_secret_of_the_example_env_file() -> None:
    example = (ROOT / ".env.example").read_text()
    secrets = re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE)
    text = (ROOT / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert {name for name, _ in secrets} == required
    assert {value for _, value in secrets} == {""}
    assert not {name for name in required if re.search(rf"\$\{{{name}(:-|\}})", text)}


def test_make_env_generates_a_different_value_for_every_secret() -> None:
    lines = run("deploy/make-env").splitlines()
    values = [line.split("=", 1)[1] for line in lines if re.match(r"[A-Z_]+=", line)]
    assert len(values) == len(set(values)) > 0
    assert all(re.fullmatch(r"[0-9a-f]{48}|whsec_[A-Za-z0-9+/]{32}", value) for value in values)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_has_resource_limits_and_a_pinned_image(name: str) -> None:
    service = COMPOSE["services"][name]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert service["logging"]["options"]["max-size"]
    assert ":" in service["image"] or name in OUR_SERVICES
    assert not service["image"].endswith(":latest")


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name != "jaeger"])
def test_every_service_has_a_health_check(name: str) -> None:
    # Jaeger's image contains neither a shell nor an HTTP client.
    assert {"test", "interval", "timeout", "retries"} <= set(
        COMPOSE["services"][name]["healthcheck"]
    )


@pytest.mark.parametrize("name", [*OUR_SERVICES, "s3"])
def test_our_containers_are_read_only_and_have_no_capabilities(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_has_time_to_stop(name: str) -> None:
    """Docker kills after ten seconds by default, which is in the middle of a checkpoint."""
    assert re.fullmatch(r"[1-9]\d+s", COMPOSE["services"][name]["stop_grace_period"])


@pytest.mark.parametrize("name", [name for name, s in COMPOSE["services"].items() if "tmpfs" in s])
def test_files_in_memory_have_a_limit_below_that_of_the_service(name: str) -> None:
    service = COMPOSE["services"][name]
    (size,) = re.findall(r"^/tmp:size=(\d+)m,", service["tmpfs"][0])
    memory = service["deploy"]["resources"]["limits"]["memory"]
    assert int(size) < int(memory.rstrip("MG")) * (1024 if memory.endswith("G") else 1) / 2


def test_monitoring_is_a_profile() -> None:
    profiles = {name: s["profiles"] for name, s in COMPOSE["services"].items() if "profiles" in s}
    assert set(profiles) == {"prometheus", "alertmanager", "grafana", "jaeger"}
    assert all(names == ["monitoring"] for names in profiles.values())


#: Ports and addresses inside containers.
FIXED = {"HOST", "PORT", "METRICS_PORT", "API_METRICS_PORT"}
#: The worker has no use for these secrets.
API_ONLY = {"ADMIN_TOKEN", "JWT_SECRET"}
#: Empty means AWS or no history, and not the services in compose.yaml.
MAY_BE_EMPTY = {"S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL", "DATABASE_URL"}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_every_setting_passes_through(name: str) -> None:
    """Also to the worker: it presents jobs in webhooks, with the same URLs and limits."""
    environment = COMPOSE["services"][name]["environment"]
    settings = {field.upper() for field in Settings.__dataclass_fields__} - FIXED
    if name == "worker":
        settings -= API_ONLY
    assert settings <= environment.keys()
    for setting in settings:
        separators = ("-",) if setting in MAY_BE_EMPTY else (":-", ":?")
        starts = tuple(f"${{{setting}{separator}" for separator in separators)
        assert environment[setting].startswith(starts), setting


#: Ports and paths inside the container, and what deploy/delivery.yaml sets.
FIXED_OF_NGINX = {
    *("HTTP_PORT", "HTTPS_PORT", "TLS_CERTIFICATE", "TLS_CERTIFICATE_KEY", "WEB_ROOT", "RESOLVER"),
    *("ACCESS_LOG", "RUN_DIR", "NGINX_BINARY", "API_UPSTREAM", "STORAGE_URL", "STORAGE_CA_BUNDLE"),
}


def test_every_variable_of_nginx_passes_through() -> None:
    """Otherwise a larger MAX_BODY_BYTES, for example, applies to the API only."""
    environment = COMPOSE["services"]["nginx"]["environment"]
    variables = re.findall(r"\$\{([A-Z_]+):=", (ROOT / "nginx" / "entrypoint.sh").read_text())
    for name in set(variables) - FIXED_OF_NGINX:
        assert environment[name] == f"${{{name}:-}}"


@pytest.mark.parametrize(("name", "command"), [
    ("api", ["gunicorn", "--check-config", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]),
    ("worker", ["python", "-c", "import worker.app"]),
])  # fmt: skip
def test_containers_accept_the_environment_if_only_the_secrets_are_set(
    name: str, command: list[str]
) -> None:
    """Libraries read variables, too: gunicorn does not accept an empty WEB_CONCURRENCY."""
    variables = {
        key: _substituted(str(value))
        for key, value in COMPOSE["services"][name]["environment"].items()
    }
    variables["WEBHOOK_SECRET"] = "whsec_" + "A" * 32
    run(BIN / command[0], *command[1:], env={"PATH": os.environ["PATH"], **variables})


def _substituted(text: str) -> str:
    """Return a value of compose.yaml with ``secret`` for every variable that is required."""
    while (plain := re.sub(r"\$\{[A-Z0-9_]+:?(?:-([^${}]*)|\?[^${}]*)\}", _default, text)) != text:
        text = plain
    return text


def _default(variable: re.Match[str]) -> str:
    return "secret" if variable[1] is None else variable[1]


def test_s3_port_alone_moves_the_storage_and_its_links() -> None:
    services = COMPOSE["services"]
    assert services["s3"]["ports"] == ["${S3_PORT:-8333}:8333"]
    public = services["api"]["environment"]["S3_PUBLIC_ENDPOINT_URL"]
    assert public == "${S3_PUBLIC_ENDPOINT_URL-http://localhost:${S3_PORT:-8333}}"


def test_images_of_others_come_from_the_registry_that_is_set() -> None:
    for name, service in COMPOSE["services"].items():
        start = "${REGISTRY:-docker.io}/" if name not in OUR_SERVICES else "${"
        assert service["image"].startswith(start), name
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"^ARG \w+_IMAGE=(\S+?)/", dockerfile, re.MULTILINE)) == {"${REGISTRY}"}
    assert COMPOSE["services"]["api"]["build"]["args"] == {"REGISTRY": "${REGISTRY:-docker.io}"}


def test_pin_images_writes_the_digest_of_every_image_of_others(tmp_path: Path) -> None:
    fake = tmp_path / "skopeo"
    fake.write_text('#!/bin/sh\necho "$4" >>"$(dirname "$0")/asked"; echo sha256:0123\n')
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    output = run("env", f"PATH={path}", "REGISTRY=mirror.example", "deploy/pin-images")
    pinned = yaml.safe_load(output)["services"]
    assert set(pinned) == COMPOSE["services"].keys() - set(OUR_SERVICES)
    for name, service in pinned.items():
        image = COMPOSE["services"][name]["image"].replace(
            "${REGISTRY:-docker.io}", "mirror.example"
        )
        assert service == {"image": f"{image}@sha256:0123"}
        assert f"docker://{image}" in (tmp_path / "asked").read_text().split()


def test_worker_stop_grace_period_exceeds_the_drain_grace() -> None:
    grace = COMPOSE["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings().drain_grace


def test_only_public_services_publish_ports() -> None:
    published = {name for name, s in COMPOSE["services"].items() if "ports" in s}
    assert published == {"nginx", "s3", "grafana", "jaeger", "alertmanager"}
    for name in ("grafana", "jaeger", "alertmanager"):
        assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name]["ports"])


def test_prometheus_reads_the_metrics_ports() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    api, worker = config["scrape_configs"]
    variables = {name: COMPOSE["services"][name]["environment"] for name in ("api", "worker")}
    port = variables["api"]["API_METRICS_PORT"]
    (apis,) = api["dns_sd_configs"]
    assert (apis["names"], apis["port"]) == (["api"], port)
    (workers,) = worker["dns_sd_configs"]
    assert workers["port"] == variables["worker"]["METRICS_PORT"]


def test_nginx_shares_a_network_with_the_api_only() -> None:
    neighbors = {
        name
        for name, service in COMPOSE["services"].items()
        if set(service["networks"]) & set(COMPOSE["services"]["nginx"]["networks"])
    }
    assert neighbors == {"nginx", "api"}


def test_only_the_forwarder_of_the_s3_port_shares_a_network_with_the_storage() -> None:
    """The storage's other ports accept requests without a signature."""
    services = COMPOSE["services"]
    assert services["seaweedfs"]["networks"] == ["storage"]
    assert "ports" not in services["seaweedfs"]
    assert COMPOSE["networks"]["storage"]["internal"] is True
    neighbors = {name for name, service in services.items() if "storage" in service["networks"]}
    assert neighbors == {"seaweedfs", "s3"}
    assert services["s3"]["environment"] == {"STORAGE": "seaweedfs:8333"}


def _configured_variables() -> Iterator[str]:
    for name in ("api", "worker"):
        yield from COMPOSE["services"][name]["environment"]
    yield from (
        literal.split("=")[0]
        for generator in yaml.safe_load((ROOT / "deploy/k8s/base/kustomization.yaml").read_text())[
            "configMapGenerator"
        ]
        for literal in generator["literals"]
    )


def test_every_variable_passed_to_the_processes_is_a_setting() -> None:
    settings = {name.upper() for name in Settings.__dataclass_fields__}
    aws_credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(_configured_variables()) <= settings | aws_credentials


def test_github_workflow_matches_its_schema() -> None:
    schema = ("--builtin-schema", "vendor.github-workflows")
    run(BIN / "check-jsonschema", *schema, ".github/workflows/ci.yml")


class _OverridesLoader(yaml.SafeLoader):
    """Reads ``!reset``, by which an override removes what the first file has."""


_OverridesLoader.add_constructor("!reset", lambda _, node: node.value)


def test_the_role_of_the_machine_replaces_the_keys_and_the_bundled_storage() -> None:
    text = (ROOT / "deploy/aws.yaml").read_text()
    services = yaml.load(text, _OverridesLoader)["services"]  # noqa: S506 - from SafeLoader
    assert services["s3"]["ports"] == []
    for name in ("api", "worker"):
        environment = {**COMPOSE["services"][name]["environment"], **services[name]["environment"]}
        assert environment["S3_ENDPOINT_URL"] == environment["S3_PUBLIC_ENDPOINT_URL"] == ""
        # Removed by the tag.
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert key in services[name]["environment"]
            # Once for each service: an alias would not be reset in the second one.
            assert text.count(f"{key}: !reset null") == 2


@pytest.mark.parametrize("path", ["README.md", "docs/deployment.md", ".env.example", "SECURITY.md"])
def test_no_command_in_a_document_replaces_the_secrets_of_an_installation(path: str) -> None:
    for line in (ROOT / path).read_text().splitlines():
        if "make-env >" in line:
            assert "[ -e .env ] || (umask 077; deploy/make-env > .env)" in line


def test_the_documented_backup_and_restore_are_those_that_were_tested() -> None:
    page = (ROOT / "docs" / "upgrading.md").read_text()
    tested = (ROOT / "tests" / "e2e" / "test_restore.py").read_text()
    for text in ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "--exit-on-error"):
        assert text in page
        assert text in tested
    assert page.index("compose stop worker") < page.index("DROP SCHEMA") < page.index("pg_restore ")
    assert "--clean" not in page
    # Valkey requires a password, and without -e a rejected command looks successful.
    assert 'REDISCLI_AUTH="$VALKEY_PASSWORD" valkey-cli -e' in page
    assert "| `.env`" in page


def test_nginx_does_not_start_a_process_for_each_cpu_of_the_host() -> None:
    for config in ("nginx/nginx.conf", "deploy/storage/forward.conf"):
        assert "worker_processes @WORKER_PROCESSES@;" in (ROOT / config).read_text()
    for script in ("nginx/entrypoint.sh", "deploy/storage/forward.sh"):
        assert '"${WORKER_PROCESSES:=2}"' in (ROOT / script).read_text()


def test_delivery_through_nginx_closes_the_port_of_the_storage() -> None:
    text = (ROOT / "deploy/delivery.yaml").read_text()
    override = yaml.load(text, _OverridesLoader)  # noqa: S506 - derived from SafeLoader
    services = override["services"]
    assert services["s3"]["ports"] == []
    neighbors = {
        name for name, service in services.items() if "delivery" in service.get("networks", ())
    }
    assert neighbors == {"nginx", "s3"}
    assert override["networks"]["delivery"]["internal"] is True
    for name in ("api", "worker"):
        settings = {**COMPOSE["services"][name]["environment"], **services[name]["environment"]}
        # Links are signed for the host that nginx connects to.
        storage = services["nginx"]["environment"]["STORAGE_URL"]
        assert settings["S3_PUBLIC_ENDPOINT_URL"] == storage
        assert settings["DELIVERY"] == "proxy"
        assert {"PUBLIC_URL", "TICKET_SECRET"} <= set(settings)
