"""Buckets in another region: the redirect is followed once, and remembered.

Rules: "Request redirection and the REST API" in the Amazon S3 API reference; 301 PermanentRedirect
and 400 AuthorizationHeaderMalformed name the region.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.object_storage import Cancellation, ObjectStorage
from common.object_storage.credentials import Credentials
from common.object_storage.transport import Transport, WrongRegion
from tests.support.scripted_server import OK, ScriptedServer, error, response


@pytest.fixture
def home() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def abroad() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def redirect(status: int, region: str = "eu-west-1") -> bytes:
    return response(
        b"<Error><Code>PermanentRedirect</Code></Error>", status=status, x_amz_bucket_region=region
    )


def regions_of(server: ScriptedServer) -> list[str]:
    return [r.split(b"Credential=")[1].split(b"/")[2].decode() for r in server.requests]


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_of_another_region_is_reached_there_from_then_on(
    home: ScriptedServer, abroad: ScriptedServer, status: int
) -> None:
    endpoints = SimpleNamespace(
        is_aws=True, ca_bundle=None, url=lambda _: abroad.url, has_own_host=lambda _: False
    )
    transport = Transport(
        home.url, "us-east-1", lambda: Credentials("a", "b"), endpoints=cast("Any", endpoints)
    )
    home.responses, abroad.responses = [redirect(status)], [OK, OK]
    for _ in range(2):
        assert transport.call("GET", "far", "k")[1] == b"ok"
    home.responses = [OK]
    assert transport.call("GET", "near", "k")[1] == b"ok"
    assert regions_of(home) == ["us-east-1", "us-east-1"]
    assert regions_of(abroad) == ["eu-west-1", "eu-west-1"]
    transport.close()


def test_a_second_redirect_is_an_error(home: ScriptedServer) -> None:
    transport = Transport(home.url, "us-east-1", lambda: Credentials("a", "b"))
    home.responses = [redirect(301), redirect(301, "us-east-1")]
    with pytest.raises(WrongRegion):
        transport.call("GET", "far", "k", cancellation=Cancellation())
    assert len(home.requests) == 2
    transport.close()


def test_a_server_that_names_its_region_in_the_error_gets_requests_for_that_region(
    home: ScriptedServer,
) -> None:
    storage = ObjectStorage(endpoint=home.url, region="us-east-1", access_key="a", secret_key="b")
    malformed = error(400, "AuthorizationHeaderMalformed").replace(
        b"</Error>", b"<Region>garage</Region></Error>"
    )
    body = malformed.partition(b"\r\n\r\n")[2]
    home.responses = [response(body, status=400), response(b"12345", ETag='"e"')]
    view = memoryview(bytearray(5))
    storage.read_into("b", "k", view)
    assert bytes(view) == b"12345"
    assert regions_of(home) == ["us-east-1", "garage"]
    storage.close()


def test_objects_in_another_region_are_not_linked(home: ScriptedServer) -> None:
    storage = ObjectStorage(endpoint=home.url, region="us-east-1", access_key="a", secret_key="b")
    home.responses = [redirect(301), OK]
    assert storage.can_link("far")
    storage.read_into("far", "k", memoryview(bytearray(2)))
    assert not storage.can_link("far")
    assert storage.can_link("near")
    storage.close()
