"""The chain of timeouts that docs/proxies.md explains, from the load balancer to the API."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import hcl2

from api import gunicorn_conf
from common.settings import Settings
from longhaul_client import watch
from tests.contracts.deployment import ROOT, nginx_seconds


def _nginx_keepalive() -> int:
    (value,) = re.findall(r"KEEPALIVE_TIMEOUT:=(\d+)s", (ROOT / "nginx/entrypoint.sh").read_text())
    return int(value)


def _load_balancer() -> dict[str, Any]:
    with (ROOT / "deploy/terraform/main.tf").open() as file:
        blocks = hcl2.load(file)["resource"]
    # hcl2 keeps the quotes of labels.
    (load_balancer,) = [block['"aws_lb"'] for block in blocks if '"aws_lb"' in block]
    return dict(load_balancer['"longhaul"'])


def test_the_side_that_sends_requests_closes_idle_connections_first() -> None:
    assert nginx_seconds("http/upstream.conf", "keepalive_timeout") < gunicorn_conf.keepalive
    assert _load_balancer()["idle_timeout"] < _nginx_keepalive()


def test_each_proxy_waits_longer_than_the_one_behind_it() -> None:
    text = (ROOT / "nginx/snippets/locations.conf").read_text()
    read_timeouts = [int(seconds) for seconds in re.findall(r"proxy_read_timeout (\d+)s", text)]
    longest_poll = 60
    assert longest_poll < max(read_timeouts) < _load_balancer()["idle_timeout"]
    assert min(read_timeouts) > 2
    (streams,) = re.findall(r"heartbeats.*\n\s*proxy_read_timeout (\d+)s", text)
    assert int(streams) > 3 * Settings().heartbeat_interval
    maximum = {field.name: field.metadata["maximum"] for field in dataclasses.fields(Settings)}
    assert maximum["heartbeat_interval"] < int(streams)
    # The web client and the operator page take a longer silence for a dead connection.
    for module in ("watch.ts", "overview-watch.ts"):
        source = (ROOT / "web/client/src" / module).read_text()
        (silence,) = re.findall(r"SILENCE_TIMEOUT = ([\d_]+);", source)
        assert 1_000 * maximum["heartbeat_interval"] < int(silence)
    assert maximum["heartbeat_interval"] < watch.SILENCE_TIMEOUT
    assert maximum["request_timeout"] < max(read_timeouts)


def test_every_request_of_nginx_to_the_api_has_a_read_timeout_of_its_own() -> None:
    for path in (ROOT / "nginx").rglob("*.conf"):
        for _, block in re.findall(r"^( *)location (.*?)^\1\}$", path.read_text(), re.M | re.S):
            if "include snippets/proxy.conf;" in block:
                assert "proxy_read_timeout" in block, block


def test_every_server_of_nginx_has_its_limits_and_error_pages() -> None:
    shared = ("include snippets/server.conf;", "include snippets/locations.conf;")
    for path in (ROOT / "nginx/servers").iterdir():
        for server in re.findall(r"^server \{\n(.*?)^\}$", path.read_text(), re.M | re.S):
            assert any(line in server for line in shared), path.name


def test_terraform_files_parse_and_use_exactly_the_declared_variables() -> None:
    texts = [path.read_text() for path in (ROOT / "deploy/terraform").glob("*.tf")]
    parsed = [hcl2.loads(text) for text in texts]
    declared = {name.strip('"') for p in parsed for v in p.get("variable", []) for name in v}
    used = {name for text in texts for name in re.findall(r"\bvar\.(\w+)", text)}
    assert used == declared
