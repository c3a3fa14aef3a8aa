"""The answer that leaves the web server with its connection."""

from __future__ import annotations

from werkzeug.test import create_environ

from api.server.hijacking import Hijack, HijackResponse


def test_a_stream_never_announces_a_length() -> None:
    body = Hijack(lambda *_: None, lambda: None)
    response = HijackResponse(body, 200, {"Content-Type": "text/event-stream"})
    stream, status, headers = response.get_wsgi_response(create_environ())
    assert stream is body
    assert status == "200 OK"
    assert dict(headers) == {"Content-Type": "text/event-stream"}
