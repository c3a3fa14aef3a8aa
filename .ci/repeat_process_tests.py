"""Run the failed tests of real processes again, alone; fail immediately if any other failed."""

import json
import sys
from pathlib import Path

import pytest

FAILED = Path(".pytest_cache/v/cache/lastfailed")
OF_PROCESSES = ("tests/e2e/", "tests/faults/", "tests/integration/")


def main() -> int:
    """Return pytest's exit code, or 1 if a test failed that gets no second run."""
    failed = json.loads(FAILED.read_text()) if FAILED.exists() else {}
    if not failed or not all(test.startswith(OF_PROCESSES) for test in failed):
        return 1
    return pytest.main(["--last-failed", "--last-failed-no-failures", "none"])


if __name__ == "__main__":
    sys.exit(main())
