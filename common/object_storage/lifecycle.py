"""The lifecycle rules of the archive bucket, merged with the rules that others have made.

PutBucketLifecycleConfiguration replaces all rules of a bucket ("Setting lifecycle configuration on
a bucket", Amazon S3 user guide), so rules that are not ours have to be sent again unchanged. Pure:
no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

#: The key prefix of streamed archives, each of which belongs to one job.
STREAMED_PREFIX: Final = "jobs/"
#: The key prefixes of everything that workers write: composed archives (and temporary objects of
#: version 0.1), indexes of archives, streamed archives, and the objects of the storage probe.
OWN_PREFIXES = ("archives/", "indexes/", STREAMED_PREFIX, "probe/")
_ID_PREFIX = "longhaul-"
#: The rule of earlier versions, which applied to all objects of the bucket. It is removed.
_FORMER_ID = "archives-expire"

Rule = Mapping[str, Any]

DAY = 86_400


def merge_rules(existing: Sequence[Rule], days: int) -> list[Rule] | None:
    """Return all rules of the bucket with ours added or updated; None if they are up to date.

    Rules of others are kept as they are, in their order. Ours delete current and noncurrent
    versions below our own prefixes, and abort uploads there.
    """
    foreign = [rule for rule in existing if not _is_own(rule)]
    # S3 rejects a configuration with both kinds of rules: Prefix (2015) and Filter.
    uses_prefix = any("Prefix" in rule for rule in foreign)
    own = [_rule(prefix, days, uses_prefix=uses_prefix) for prefix in OWN_PREFIXES]
    current = [rule for rule in existing if _is_own(rule)]
    if sorted(map(_comparable, current)) == sorted(map(_comparable, own)):
        return None
    return [*foreign, *own]


def expiry_days(ttl: float) -> int:
    """Return after how many days archives expire, for jobs that need them for ``ttl`` seconds.

    Rules count whole days. One more day lets other jobs reuse an archive in the meantime.
    """
    return math.ceil(ttl / DAY) + 1


def has_own_rules(rules: Sequence[Rule]) -> bool:
    """Return whether all of our prefixes have a rule."""
    prefixes = {_prefix(rule) for rule in rules if _is_own(rule)}
    return prefixes.issuperset(OWN_PREFIXES)


def check_buckets(archive_bucket: str, source_url_template: str) -> None:
    """Raise ValueError if archives, which expire, and source files could have the same keys."""
    url = urlsplit(source_url_template)
    if url.scheme != "s3" or url.netloc != archive_bucket:
        return
    key = source_url_template.removeprefix(f"s3://{url.netloc}/").lstrip("/")
    source_prefix = key.partition("{")[0]
    for prefix in OWN_PREFIXES:
        if source_prefix.startswith(prefix) or prefix.startswith(source_prefix):
            raise ValueError(
                f"ARCHIVE_BUCKET={archive_bucket} is also the bucket of the source files. Use "
                "another bucket, or a prefix in SOURCE_URL_TEMPLATE that differs from "
                f"{', '.join(OWN_PREFIXES)}: objects with these prefixes expire."
            )


def _rule(prefix: str, days: int, *, uses_prefix: bool) -> Rule:
    return {
        "ID": f"{_ID_PREFIX}{prefix.rstrip('/')}",
        "Status": "Enabled",
        **({"Prefix": prefix} if uses_prefix else {"Filter": {"Prefix": prefix}}),
        "Expiration": {"Days": days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


def _is_own(rule: Rule) -> bool:
    rule_id = rule.get("ID", "")
    if rule_id == _FORMER_ID:
        return _prefix(rule) == ""
    return rule_id in {f"{_ID_PREFIX}{prefix.rstrip('/')}" for prefix in OWN_PREFIXES}


def _prefix(rule: Rule) -> str | None:
    found = rule.get("Prefix", rule.get("Filter", {}).get("Prefix"))
    # Servers return an empty prefix in several ways, also as an empty filter.
    return "" if found is None and not rule.get("Filter") else found


def _comparable(rule: Rule) -> str:
    """Return the parts of a rule that matter; servers add and leave out others."""
    return repr(
        (
            rule.get("ID"),
            rule.get("Status"),
            _prefix(rule),
            rule.get("Expiration", {}).get("Days"),
            rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
        )
    )
