"""Lifecycle rules: ours are merged into those of others.

Rules: "PutBucketLifecycleConfiguration" in the Amazon S3 API reference. The request replaces the
whole configuration, and all rules of one configuration use either Prefix or Filter.
"""

from __future__ import annotations

from typing import Any

import pytest

from common.object_storage.lifecycle import OWN_PREFIXES, has_own_rules, merge_rules

FOREIGN: list[dict[str, Any]] = [
    {
        "ID": "logs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 400},
    },
    {
        "ID": "cold",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "docs/", "Tags": [{"Key": "a", "Value": "b"}]}},
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
    },
    {"Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Date": "2030-01-01"}},
]
FORMER = {
    "ID": "archives-expire",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "Expiration": {"Days": 2},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
}


def prefixes(rules: Any) -> set[str]:
    return {rule["Filter"]["Prefix"] for rule in rules if rule.get("ID", "").startswith("longhaul")}


def test_rules_of_others_are_kept_unchanged_and_in_order() -> None:
    merged = merge_rules(FOREIGN, 2)
    assert merged is not None
    assert merged[:3] == FOREIGN
    assert prefixes(merged) == set(OWN_PREFIXES)


def test_our_rules_apply_to_our_prefixes_only_and_to_noncurrent_versions() -> None:
    merged = merge_rules([], 3)
    assert merged is not None
    for rule in merged:
        assert rule["Filter"]["Prefix"] in OWN_PREFIXES
        assert rule["Expiration"] == {"Days": 3}
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}


def test_nothing_is_written_if_the_rules_are_up_to_date() -> None:
    merged = merge_rules(FOREIGN, 2)
    assert merged is not None
    assert merge_rules(merged, 2) is None
    # Servers add empty elements and sort rules by id.
    returned = [{**rule, "Transitions": []} for rule in reversed(merged)]
    assert merge_rules(returned, 2) is None


def test_a_changed_ttl_replaces_our_rules() -> None:
    merged = merge_rules(merge_rules(FOREIGN, 2) or [], 5)
    assert merged is not None
    assert merged[:3] == FOREIGN
    assert [rule["Expiration"]["Days"] for rule in merged[3:]] == [5] * len(OWN_PREFIXES)


@pytest.mark.parametrize("scope", [
    {"Filter": {"Prefix": ""}}, {"Prefix": ""}, {"Filter": {}}, {},
])  # fmt: skip
def test_the_former_rule_for_the_whole_bucket_is_removed(scope: dict[str, Any]) -> None:
    former = {**{k: v for k, v in FORMER.items() if k != "Filter"}, **scope}
    merged = merge_rules([former, *FOREIGN], 2)
    assert merged is not None
    assert former not in merged
    assert all(rule in merged for rule in FOREIGN)


def test_a_foreign_rule_with_the_former_id_is_kept() -> None:
    foreign = {**FORMER, "Filter": {"Prefix": "their/"}}
    merged = merge_rules([foreign], 2)
    assert merged is not None
    assert foreign in merged


def test_a_configuration_with_rules_by_prefix_gets_rules_by_prefix() -> None:
    merged = merge_rules([{"ID": "old", "Prefix": "x/", "Status": "Enabled"}], 2)
    assert merged is not None
    assert all("Filter" not in rule for rule in merged)
    assert {rule["Prefix"] for rule in merged} == {"x/", *OWN_PREFIXES}
    assert has_own_rules(merged)


def test_rules_are_confirmed_only_if_all_prefixes_have_one() -> None:
    merged = merge_rules([], 2)
    assert merged is not None
    assert has_own_rules(merged)
    assert not has_own_rules(merged[1:])
    assert not has_own_rules([])
