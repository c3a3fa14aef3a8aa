"""The OpenAPI document and the web pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import problems
from api.auth.authorization import ADMIN_PATHS
from tests.unit.api.conftest import OPERATOR

UNDOCUMENTED = {
    "/assets/<path:name>",
    "/docs",
    "/docs/<path:name>",
    "/docs/problems",
    "/openapi.json",
    "/operator",
}
#: They check the user in the body, or the files.
CHECKED_CALLS = (
    *("/v1/download/initiate", "/v1/download/async", "/v1/download/start", "/v1/download/check"),
    *("/v1/download/{job_id}/retry", "/v1/download/{job_id}/links"),
)


@pytest.fixture
def document(client: FlaskClient) -> Any:
    return client.get("/openapi.json").json


def test_every_route_is_documented(
    make_app: Callable[..., Flask], document: dict[str, Any]
) -> None:
    app = make_app()
    routed = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in UNDOCUMENTED
    }
    documented = {(path, method) for path, item in document["paths"].items() for method in item} - {
        (path, "parameters") for path in document["paths"]
    }
    assert routed == documented


def test_every_operation_has_a_summary_and_a_unique_id(document: dict[str, Any]) -> None:
    operations = [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_rate_limited_operation_documents_its_errors(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path.startswith("/v1/") and method != "parameters":
                assert {"400", "429", "500", "503"} <= set(operation["responses"])


def test_errors_of_the_http_server_need_no_rate_limit_headers(document: dict[str, Any]) -> None:
    # The server rejects what is not valid HTTP before anything is counted.
    for response, required in (("Problem400", False), ("Problem413", False), ("Problem404", True)):
        headers = document["components"]["responses"][response]["headers"]
        header = headers["RateLimit-Limit"]
        if "$ref" in header:
            header = document["components"]["headers"][header["$ref"].rpartition("/")[2]]
        assert header["required"] is required


def test_calls_that_authorize_without_a_token_document_403(document: dict[str, Any]) -> None:
    paths = document["paths"]
    calls = [(paths[path], "post") for path in CHECKED_CALLS]
    calls.append((paths["/v1/download/{job_id}"], "get"))
    for path, item in paths.items():
        if path.startswith(ADMIN_PATHS):
            calls += [(item, method) for method in item.keys() - {"parameters"}]
    for item, method in calls:
        assert "403" in item[method]["responses"], item[method]["operationId"]


def test_every_call_ignores_unknown_parameters(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    days = {"from": "2026-01-01", "to": "2026-01-02"}
    for path, item in document["paths"].items():
        parameters = item.get("get", {}).get("parameters", [])
        if "{" not in path and any(each.get("in") == "query" for each in parameters):
            query = {"_": "1", **(days if path.endswith(".csv") else {})}
            response = client.get(path, query_string=query, headers=OPERATOR)
            # Without a history, some calls respond with 404.
            assert response.status_code in (200, 404), (path, response.text)


def test_the_document_contains_the_configured_limits(make_app: Callable[..., Flask]) -> None:
    client = make_app(file_id_max=500, max_files=7).test_client()
    schema = client.get("/openapi.json").json["components"]["schemas"]["Initiate"]
    file_ids = schema["properties"]["file_ids"]
    assert (file_ids["maxItems"], file_ids["items"]["maximum"]) == (7, 500)


@pytest.mark.parametrize("page", ["/docs", "/docs/problems", "/"])
def test_no_page_loads_anything_from_another_host(client: FlaskClient, page: str) -> None:
    html = client.get(page, headers={"Accept": "text/html"})
    assert html.mimetype == "text/html"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html.text)
    for asset in re.findall(r"(?:src|href)=\"(/docs/[^\"]+)\"", html.text):
        with client.get(asset) as response:
            assert response.status_code == 200, asset


def test_index_returns_the_url_of_the_documentation_to_programs(client: FlaskClient) -> None:
    response = client.get("/", headers={"Accept": "*/*"})
    assert set(response.json) == {"message", "version", "docs"}
    assert client.get(response.json["docs"]).status_code == 200


def test_the_type_of_a_problem_links_to_its_explanation(client: FlaskClient) -> None:
    kind = client.get("/v1/download/x").json["type"]
    path, _, anchor = kind.partition("#")
    assert f'id="{anchor}"' in client.get(path).text


def test_metrics_are_labeled_by_route_not_path(client: FlaskClient) -> None:
    client.get("/v1/download/status/00000000-0000-4000-8000-000000000000")
    client.open("/nowhere", method="BREW")
    text = client.get("/metrics", headers=OPERATOR).text
    assert 'route="/v1/download/status/<job:job_id>",status="404"' in text
    assert 'method="other",route="unknown"' in text
    assert "00000000-0000" not in text
    assert "BREW" not in text


def test_every_problem_code_is_explained(client: FlaskClient) -> None:
    page = client.get("/docs/problems").text
    explained = set(re.findall(r'id="([A-Z_]+)"', page))
    assert {kind.code for kind in problems.STATUS} - explained <= {
        "BAD_REQUEST",
        "PROCESSING_ERROR",
    }
    assert {
        "VALIDATION_ERROR",
        "MALFORMED_JSON",
        "MALFORMED_REQUEST",
        "INTERNAL_ERROR",
        "REQUEST_TIMEOUT",
        "BODY_TOO_LARGE",
        "URI_TOO_LONG",
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
    } <= explained
    assert "on purpose" not in page
