"""The version of the server: API and worker."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
