"""What is shown of a webhook's request and response."""

from __future__ import annotations

from worker.webhooks.exchange import MAX_HEADERS, MAX_NAME, MAX_VALUE, shown_exchange


def test_only_the_origin_of_the_url_is_shown() -> None:
    url = "https://user:password@hooks.example:8443/services/T0/SECRET?key=SECRET#SECRET"
    exchange = shown_exchange(1, url, {}, None)
    assert exchange.url == "https://hooks.example:8443"
    assert exchange.response_headers is None


def test_signatures_and_unknown_headers_are_masked() -> None:
    request = {"webhook-id": "msg_1", "webhook-signature": "v1,SECRET"}
    response = {"Content-Type": "text/plain", "Set-Cookie": "SECRET", "X-Internal": "SECRET"}
    exchange = shown_exchange(1, "https://example.com/", request, response)
    assert exchange.request_headers == {"webhook-id": "msg_1", "webhook-signature": "***"}
    assert exchange.response_headers == {
        "content-type": "text/plain",
        "set-cookie": "***",
        "x-internal": "***",
    }


def test_secrets_in_known_headers_are_masked() -> None:
    response = {"Server": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    shown = shown_exchange(1, "https://example.com/", {}, response).response_headers
    assert shown == {"server": "***"}


def test_the_size_is_bounded_and_the_text_printable() -> None:
    response = {f"x-{number}-{'n' * 500}": "v" for number in range(500)}
    shown = shown_exchange(1, "https://example.com/", {}, response).response_headers or {}
    assert len(shown) == MAX_HEADERS
    assert max(map(len, shown)) == MAX_NAME
    exchange = shown_exchange(1, "https://a/", {}, {"server": "\x1b[31mé" + "v" * 999})
    value = (exchange.response_headers or {})["server"]
    assert len(value) == MAX_VALUE
    assert value.startswith("?[31m?vvv")
