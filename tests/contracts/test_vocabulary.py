"""Code and documents use the words of docs/glossary.md, not the private ones of earlier versions.

Each pattern below is an old word. ``ALLOWED`` lists the few places that need one, with the reason.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Old word (a regular expression, whole words, any case) -> what to write instead.
OLD_WORDS = {
    r"anew": "again",
    r"nought": "zero, nothing",
    r"whoever|whosoever": "anyone who",
    r"wherever": "where",
    r"for ever": "forever",
    r"so long as": "while",
    r"but for": "except",
    r"by turns": "alternately",
    r"(?:is|are|was) no error": "is allowed; is idempotent",
    r"(?:of|by) (?:its|their) own accord": "(leave out)",
    r"be it": "whether",
    r"put(?:s|ting)? away": "delete, clean up",
    r"(?:is|are|was|were|be) away": "is unavailable",
    r"heard of": "registered, received",
    r"hears of": "receives, learns of",
    r"as it were": "(leave out)",
    r"hitherto|thereof|therein|wherein|whereof|hence|thence|ere": "(plain English)",
    r"lanes?|_?LANES?": "priority, priority queue",
    r"crews?": "task group",
    r"couriers?": "webhook sender",
    r"blueprints?": "archive plan (Flask's Blueprint is written with a capital)",
    r"verdicts?": "outcome",
    r"tally|tallies": "counts, statistics",
    r"ledgers?": "checksums, upload log",
    r"rungs?": "ladder part",
    r"tidy|tidies|tidied|tidying": "clean up",
    r"leftovers?": "abandoned uploads, temporary objects",
    r"upkeep": "cleanup, maintenance",
    r"patience": "timeout",
    r"hints?|hinted": "wake-up",
    r"dossiers?": "job record",
    r"forgetful": "without an upload log",
    r"step_back|back_to_queue|note_attempt|fail_for_good": "(the functions' new names)",
    r"mends?|mended|mending": "fix, repair",
    r"hale|fares?|fared": "healthy; performs",
    r"beforehand": "before, in advance",
    r"journals?": "state log, upload log",
    r"by commas": "comma-separated",
    r"reckon(?:s|ed)?": "calculate, estimate",
    r"whence|yonder|albeit|lest": "(plain English)",
    # Also as a part of a class's name.
    r"[a-z]*handovers?[a-z]*": "hijacked connection; return to the queue",
    r"witness(?:es)?": "event recorder",
    r"arenas?": "environment",
    r"crowds?": "stream loop, clients",
    r"blames?|blamed": "mark the error of",
    r"(?:is|are|was|were|be|been|cannot be) told": "is reported",
    r"nobody knows": "is unknown",
    r"told": "reported, given",
    r"fences?": "fencing token",
    r"hearts?": "heartbeat",
    r"hand(?:s|ed|ing)?[ _]?backs?": "return to the queue",
    r"BlamedSource|EventFeed|HistoryOff|KeepingTurn|ObjectMissing|PromptThreads"
    r"|QueueFigures|QuickInitiate|QuickStatus|RedisPlace|RunControl|ServiceAway|StorageFindings"
    r"|TrustingAuthenticator|Unplannable|UploadMissing": "(the classes' new names)",
}
_PATTERNS = {
    re.compile(rf"(?<![A-Za-z])(?:{old})(?![A-Za-z])", re.IGNORECASE): new
    for old, new in OLD_WORDS.items()
}

#: (path, text of the line) that may contain an old word, as regular expressions, with the reason.
ALLOWED = (
    # This file, and documents that explain renames.
    (r"tests/contracts/test_vocabulary\.py|CHANGELOG\.md|docs/glossary\.md", r""),
    # Flask's class.
    (r"api/.*\.py", r"\bBlueprint\b|blueprint"),
    # Hash fields, keys and columns at rest, see common/job_store/keys.py.
    (r"common/job_store/(?:keys|records)\.py", r"lane|fence|jobs:(?:hinted|journal)"),
    (r"common/job_store/lua/.*", r"\blane\b|\bfence\b"),
    (r"common/(?:jobs/model|history/(?:rows|tables))\.py", r"""["`]fence["`]"""),
    (r"(?:tests|bench)/.*\.py", r"""["'](?:lane|fence)["']|jobs:(?:hinted|journal)"""),
    # The former name of a setting, which is still accepted.
    (r"common/settings\.py|tests/unit/common/test_settings\.py|docs/.*", r"LANE_MAX_WAIT"),
    # Names of other projects and standards.
    (r"common/job_store/cluster\.py", r"shard_hint"),
    (r"common/observability/sentry\.py", r"_hint"),
    (r".*\.py", r"get_type_hints|type hints?|Early Hints"),
    (r"tests/integration/sources/test_interim_responses\.py", r"(?i)hints"),
    (r"tests/contracts/test_documents\.py", r"(?i)fence"),
    (r"tests/simulation/mutations\.py", r"job\.fence\b"),
    # A word in a sample file.
    (r"stack/sample_files\.py", r"ledger"),
)
_ALLOWED = [(re.compile(path), re.compile(line)) for path, line in ALLOWED]

#: Files without prose of this project.
SKIPPED = re.compile(
    r"LICENSE$|\.lock$|lock\.json$|package-lock\.json$|requirements.*\.txt$|migrations/versions/"
    r"|\.(?:png|jpe?g|svg|ico|woff2?|gz|zip|pem|snap)$|(?:^|/)node_modules/|schema\.gen\.ts$"
)


def tracked_files() -> Iterator[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listing.stdout.split("\0"):
        path = ROOT / name
        if name and not SKIPPED.search(name) and path.is_file():
            yield path


def old_words(name: str, text: str) -> Iterator[str]:
    """Yield a message for each old word in a file."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, new in _PATTERNS.items():
            found = pattern.search(line)
            if found and not any(
                path.fullmatch(name) and allowed.search(line) for path, allowed in _ALLOWED
            ):
                yield f"{name}:{number}: {found[0]!r}: write {new}"


def test_no_file_uses_an_old_word() -> None:
    messages: list[str] = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        messages += old_words(str(path.relative_to(ROOT)), text)
    assert not messages, f"{len(messages)} old words:\n" + "\n".join(messages)


@pytest.mark.parametrize(
    "line",
    [
        "Runs the job anew.",
        "for lane in lanes:",
        "DEFAULT_PATIENCE = 3",
        "raise DeadlineHandover",
        "jobs.hand_back(lease)",
    ],
)
def test_an_old_word_is_found(line: str) -> None:
    assert list(old_words("worker/example.py", line))


@pytest.mark.parametrize("line", ["a renewed lease", "def planet_of():", "outpatients"])
def test_a_word_that_contains_an_old_one_is_allowed(line: str) -> None:
    assert not list(old_words("worker/example.py", line))
