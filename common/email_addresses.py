"""Which texts are accepted as email addresses."""

from __future__ import annotations

import re
from typing import Final

#: RFC 5321, 4.5.3.1.3: a path has at most 256 characters, two of which are brackets.
MAX_LENGTH: Final = 254
#: A valid email address of the HTML standard: no spaces, comments, quotes or line ends. Before the
#: `@`, a dot has to stand between two other characters (RFC 5321, 4.1.2): no header can contain
#: the addresses with other dots that some providers once assigned.
_ADDRESS: Final = re.compile(
    r"(?=[^@]{1,64}@)[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\Z"
)


def is_email_address(value: object) -> bool:
    """Return whether the value is one email address, in ASCII and without a name."""
    return isinstance(value, str) and len(value) <= MAX_LENGTH and bool(_ADDRESS.match(value))
