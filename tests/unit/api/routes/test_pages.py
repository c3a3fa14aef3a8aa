"""The files of the web page."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.routes import pages

SCRIPT = b"console.log('page')"


@pytest.fixture(autouse=True)
def built_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "page.js").write_bytes(SCRIPT)
    (assets / "page.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "page.js.br").write_bytes(b"brotli")
    (tmp_path / "index.html.gz").write_bytes(b"secret")
    monkeypatch.setattr(pages, "WEB", tmp_path)


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate, br", "br", b"brotli"),
        ("gzip;q=1, br;q=0", "gzip", None),
        ("identity", None, SCRIPT),
        ("", None, SCRIPT),
    ],
)
def test_assets_are_sent_in_the_best_accepted_encoding(
    client: FlaskClient, accepted: str, encoding: str | None, body: bytes | None
) -> None:
    # RFC 9110, 12.5.3: a quality of 0 means "not acceptable".
    response = client.get("/assets/page.js", headers={"Accept-Encoding": accepted}, buffered=True)
    assert response.status_code == 200
    assert response.headers.get("Content-Encoding") == encoding
    assert response.mimetype == "text/javascript"
    assert "Accept-Encoding" in response.headers["Vary"]
    assert "immutable" in response.headers["Cache-Control"]
    assert (response.data if body else gzip.decompress(response.data)) == (body or SCRIPT)


@pytest.mark.parametrize("name", ["missing.js", "../index.html"])
def test_only_files_of_the_page_are_sent(client: FlaskClient, name: str) -> None:
    response = client.get(f"/assets/{name}", headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert response.status_code == 404


@pytest.mark.parametrize("range_", ["bytes=0-3", "lines=0-3", "bytes=x", "bytes=0-1,3-4"])
@pytest.mark.parametrize("path", ["/assets/page.js", "/docs/swagger-ui.css"])
def test_files_are_sent_as_a_whole(client: FlaskClient, path: str, range_: str) -> None:
    # RFC 9110, 14.2: a server may ignore Range, and must for HEAD and for units it does not know.
    for method in ("GET", "HEAD"):
        response = client.open(path, method=method, headers={"Range": range_}, buffered=True)
        assert response.status_code == 200


@pytest.mark.timeout(10)
def test_long_headers_and_queries_are_not_parsed(client: FlaskClient) -> None:
    # Each of them blocked the process for 10 to 60 ms.
    started = time.process_time()
    for _ in range(50):
        many = client.get("/", headers={"Accept": "a/b," * 7_000})
        assert many.mimetype == "application/json"
        script = client.get(
            "/assets/page.js", headers={"Accept-Encoding": "br,gzip," * 4_000}, buffered=True
        )
        assert (script.status_code, script.headers.get("Content-Encoding")) == (200, None)
        assert client.get("/v1/download/jobs?x=" + "%ff" * 5_000).status_code == 200
        assert client.get("/v1/download/jobs?" + "a=&" * 5_000).status_code == 400
    assert time.process_time() - started < 5
