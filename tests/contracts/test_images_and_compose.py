"""The images hold what runs, and compose.yaml runs it with no more than it needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml

from common.settings import Settings
from tests.contracts.deployment import BIN, ROOT, run

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
#: Images of others bring their own users and write where they please.
OURS = ("nginx", "api", "worker", "beat")


def _pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(found)


def test_the_runtime_lock_is_a_part_of_the_full_one() -> None:
    everything = _pins("requirements.lock")
    runtime = _pins("requirements-runtime.lock")
    assert runtime == {name: everything.get(name) for name in runtime}


def test_the_runtime_lock_has_what_the_processes_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["history"], *extras["tracing"], *extras["sentry"]]
    names = {re.split(r"[\[<>=]", line)[0] for line in wanted}
    assert names <= set(_pins("requirements-runtime.lock"))


def test_images_do_not_run_as_root() -> None:
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    for name in ("app", "edge"):
        (stage,) = [text for text in stages if text.splitlines()[0].endswith(f" AS {name}")]
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", stage, re.MULTILINE)


def test_compose_file_is_valid() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_every_secret_of_the_example_is_required_and_empty() -> None:
    example = (ROOT / ".env.example").read_text()
    secrets = re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE)
    text = (ROOT / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert {name for name, _ in secrets} == required
    assert {value for _, value in secrets} == {""}
    assert not {name for name in required if re.search(rf"\$\{{{name}(:-|\}})", text)}


def test_make_env_fills_every_secret_with_another_value() -> None:
    lines = run("deploy/make-env").splitlines()
    values = [line.split("=", 1)[1] for line in lines if re.match(r"[A-Z_]+=", line)]
    assert len(values) == len(set(values)) > 0
    assert all(re.fullmatch(r"[0-9a-f]{48}|whsec_[A-Za-z0-9+/]{32}", value) for value in values)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_bounded(name: str) -> None:
    service = COMPOSE["services"][name]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert service["logging"]["options"]["max-size"]
    assert ":" in service["image"] or name in OURS
    assert not service["image"].endswith(":latest")


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name != "jaeger"])
def test_every_service_has_a_health_check(name: str) -> None:
    # Jaeger's image has neither a shell nor a client to ask with.
    assert {"test", "interval", "timeout", "retries"} <= set(
        COMPOSE["services"][name]["healthcheck"]
    )


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_nothing_that_they_need_not(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_has_longer_to_stop_than_it_drains() -> None:
    grace = COMPOSE["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings().drain_grace


def test_only_doors_meant_for_the_outside_are_published() -> None:
    published = {name for name, s in COMPOSE["services"].items() if "ports" in s}
    assert published == {"nginx", "seaweedfs", "grafana", "jaeger"}
    for name in ("grafana", "jaeger"):
        assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name]["ports"])


def _settings_given() -> Iterator[str]:
    for name in ("api", "worker", "beat"):
        yield from COMPOSE["services"][name]["environment"]
    yield from (
        literal.split("=")[0]
        for generator in yaml.safe_load((ROOT / "deploy/k8s/kustomization.yaml").read_text())[
            "configMapGenerator"
        ]
        for literal in generator["literals"]
    )


def test_every_variable_given_to_the_processes_means_something() -> None:
    known = {name.upper() for name in Settings.__dataclass_fields__}
    boto3s_own = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(_settings_given()) <= known | boto3s_own


def test_the_workflow_is_valid() -> None:
    schema = ("--builtin-schema", "vendor.github-workflows")
    run(BIN / "check-jsonschema", *schema, ".github/workflows/ci.yml")
