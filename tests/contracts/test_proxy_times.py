"""The chain of times that docs/proxies.md explains, from the balancer to the API."""

from __future__ import annotations

import re
from typing import Any

import hcl2

from api import gunicorn_conf
from common.settings import Settings
from tests.contracts.deployment import ROOT, nginx_seconds


def _keepalive_of_nginx() -> int:
    (value,) = re.findall(r"KEEPALIVE_TIMEOUT:=(\d+)s", (ROOT / "nginx/entrypoint.sh").read_text())
    return int(value)


def _balancer() -> dict[str, Any]:
    with (ROOT / "deploy/terraform/main.tf").open() as file:
        blocks = hcl2.load(file)["resource"]
    # The parser keeps the quotes of labels.
    (found,) = [block['"aws_lb"'] for block in blocks if '"aws_lb"' in block]
    return dict(found['"longhaul"'])


def test_idle_connections_are_closed_by_the_side_that_sends_requests() -> None:
    assert nginx_seconds("http/upstream.conf", "keepalive_timeout") < gunicorn_conf.keepalive
    assert _balancer()["idle_timeout"] < _keepalive_of_nginx()


def test_each_hop_outwards_waits_longer() -> None:
    text = (ROOT / "nginx/snippets/locations.conf").read_text()
    patience = [int(seconds) for seconds in re.findall(r"proxy_read_timeout (\d+)s", text)]
    longest_poll = 60
    assert longest_poll < max(patience) < _balancer()["idle_timeout"]
    assert min(patience) > 2
    (streams,) = re.findall(r"heartbeats.*\n\s*proxy_read_timeout (\d+)s", text)
    assert int(streams) > 3 * Settings().heartbeat_interval


def test_terraform_files_parse_and_name_no_unknown_variable() -> None:
    texts = [path.read_text() for path in (ROOT / "deploy/terraform").glob("*.tf")]
    parsed = [hcl2.loads(text) for text in texts]
    declared = {name.strip('"') for p in parsed for v in p.get("variable", []) for name in v}
    used = {name for text in texts for name in re.findall(r"\bvar\.(\w+)", text)}
    assert used == declared
