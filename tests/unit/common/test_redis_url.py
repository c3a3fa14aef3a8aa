"""Redis URLs of all kinds, and what Celery gets for them."""

from __future__ import annotations

import pytest

from common.bootstrap import same_server
from common.celery_app import QUEUES, celery_app
from common.redis_url import RedisTarget, parse

SENTINELS = "redis+sentinel://alice:p%40ss@s1,s2:26380/jobs/2?sentinel_password=x"


def test_parse_reads_the_url_of_a_single_server() -> None:
    expected = RedisTarget(kind="single", hosts=(("host", 6380),), db=3, password="pw")
    assert parse("redis://:pw@host:6380/3") == expected


def test_parse_reads_the_url_of_a_service_behind_sentinels() -> None:
    assert parse(SENTINELS) == RedisTarget(
        kind="sentinel",
        hosts=(("s1", 26379), ("s2", 26380)),
        db=2,
        service="jobs",
        username="alice",
        password="p@ss",
        sentinel_password="x",
    )


def test_parse_reads_the_url_of_a_cluster_with_tls() -> None:
    place = parse("rediss+cluster://:pw@[::1]:7000,n2")
    assert (place.kind, place.tls, place.password) == ("cluster", True, "pw")
    assert place.hosts == (("::1", 7000), ("n2", 6379))


@pytest.mark.parametrize(
    "url",
    [
        *("http://host", "redis", "redis+ring://host", "redis://", "redis+sentinel://s1"),
        *("redis+cluster://n1/1", "redis://host:99999", "redis://host/x"),
    ],
)
def test_parse_rejects_an_invalid_url_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(url)
    assert url not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["redis://:hunter/2@host:6379/0", "redis+sentinel://:hunter/2@s1/jobs/0", "redis://h:hunter2"],
)
def test_parse_never_shows_part_of_a_password(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(url)
    assert "hunter" not in str(refused.value)
    assert "2@" not in str(refused.value)


def test_celery_gets_sentinels_in_its_own_syntax() -> None:
    conf = celery_app(SENTINELS).conf
    assert conf.broker_url == (
        "sentinel://alice:p%40ss@s1:26379/2;sentinel://alice:p%40ss@s2:26380/2"
    )
    options = conf.broker_transport_options
    assert options["master_name"] == "jobs"
    assert options["sentinel_kwargs"]["password"] == "x"


def test_a_cluster_is_rejected_as_a_broker() -> None:
    with pytest.raises(ValueError, match="BROKER_URL"):
        celery_app("redis+cluster://n1")


@pytest.mark.parametrize(
    ("store", "broker", "same"),
    [
        ("redis://host/0", "redis://host:6379", True),
        ("redis://host/0", "redis://host/1", False),
        ("redis+sentinel://s1,s2/jobs", "redis+sentinel://s2,s1/jobs/0", True),
        ("redis+sentinel://s1/jobs", "redis+sentinel://s1/other", False),
        ("redis+cluster://n1", "redis+cluster://n1", False),
        ("redis://host", "amqp://host", False),
    ],
)
def test_same_server_compares_the_databases_of_store_and_broker(
    store: str, broker: str, same: bool
) -> None:
    assert same_server(store, broker) is same


def test_workers_consume_every_queue_and_nothing_is_scheduled() -> None:
    app = celery_app("redis://host")
    assert {queue.name for queue in app.conf.task_queues} == set(QUEUES)
    assert not app.conf.beat_schedule


def test_queues_on_rabbitmq_are_replicated() -> None:
    queues = celery_app("amqp://host").conf.task_queues
    assert {queue.queue_arguments["x-queue-type"] for queue in queues} == {"quorum"}
