"""The link to the operator page.

Imports neither Flask nor anything else that gevent patches: gunicorn's configuration uses it.
"""

from __future__ import annotations

from urllib.parse import quote


def link(base_url: str, token: str) -> str:
    """Return the URL of the operator page that gives it the token.

    The token is in the fragment, which browsers send neither to the server nor as a referrer.
    """
    return f"{base_url}/operator#token={quote(token, safe='')}"
