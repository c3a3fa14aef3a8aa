"""Email addresses of tokens and settings."""

from __future__ import annotations

from typing import Any

import pytest

from common.email_addresses import is_email_address


@pytest.mark.parametrize(
    "address", ["ada@example.com", "a.b+c@x-y.example", "o'neil@example.co.uk", "root@localhost"]
)
def test_addresses_of_html_forms_are_accepted(address: str) -> None:
    assert is_email_address(address)


@pytest.mark.parametrize(
    "value",
    [
        "",
        None,
        5,
        ["ada@example.com"],
        "ada",
        "ada@",
        "@example.com",
        "a@b@example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        '"a b"@example.com',
        "ada@exa mple.com",
        "ada@-example.com",
        "ada@example..com",
        # RFC 5321, 4.1.2. A header cannot contain them.
        "ada..l@example.com",
        "ada.@example.com",
        ".ada@example.com",
        "ädä@example.com",
        "ada@exämple.com",
        "\x00ada@example.com",
        f"{'a' * 65}@example.com",
        f"ada@{'.'.join(['a' * 60] * 5)}",
    ],
)
def test_everything_else_is_rejected(value: Any) -> None:
    assert not is_email_address(value)
