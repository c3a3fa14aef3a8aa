"""Errors of the job store: an outage and a mistake must not look alike, least of all in the log."""

from __future__ import annotations

import pytest
import structlog
from redis import Redis
from redis._parsers import BaseParser
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from common.job_store.errors import code_of, describe, is_outage, log_failure


def wrong_type(redis: Redis) -> RedisError:
    redis.set("key", "text")
    with pytest.raises(ResponseError) as caught:
        redis.hgetall("key")
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("Connection refused"),
        TimeoutError("Timeout reading from socket"),
        BusyLoadingError("Valkey is loading the dataset in memory"),
        ReadOnlyError("You can't write against a read only replica.", status_code="READONLY"),
        OutOfMemoryError("command not allowed", status_code="OOM"),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("UNBLOCKED force unblock from blocking operation"),
        NoScriptError("No matching script.", status_code="NOSCRIPT"),
    ],
)
def test_a_server_that_does_not_serve_is_an_outage(error: RedisError) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "code",
    [
        *("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED", "LOADING", "BUSY", "MISCONF", "OOM"),
        *("CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOSCRIPT"),
    ],
)
def test_a_server_that_does_not_serve_a_pipeline_is_an_outage(code: str, redis: Redis) -> None:
    error = BaseParser.parse_error(f"{code} 1 127.0.0.1:6379")
    command = ("SET", "key of pipeline caused error: ERR", "value")
    redis.pipeline().annotate_exception(error, 1, command)
    assert str(error).startswith("Command # 1 (SET key")
    assert code_of(error) == code
    assert is_outage(error)


def test_a_rejected_command_of_a_pipeline_is_no_outage(redis: Redis) -> None:
    redis.set("key", "text")
    with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall("key")
        with pytest.raises(ResponseError) as caught:
            pipe.execute()
    assert code_of(caught.value) == "WRONGTYPE"
    assert not is_outage(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("unknown command 'FOO'"),
        ResponseError("ERR Error running script: attempt to index a nil value"),
    ],
)
def test_a_rejected_command_is_no_outage(error: RedisError) -> None:
    assert not is_outage(error)


def test_the_log_shows_the_kind_and_the_message_of_an_error(redis: Redis) -> None:
    error = wrong_type(redis)
    assert "WRONGTYPE" in describe(error)
    assert "READONLY: You can't write" in describe(
        ReadOnlyError("You can't write", status_code="READONLY")
    )
    with structlog.testing.capture_logs() as logs:
        log_failure(structlog.get_logger(), "sweep failed", error, job_id="1")
        log_failure(structlog.get_logger(), "sweep failed", TimeoutError("too slow"))
    mistake, outage = logs
    assert (mistake["log_level"], outage["log_level"]) == ("error", "warning")
    assert "unavailable" not in mistake["cause"]
    assert mistake["job_id"] == "1"
    assert outage["error"] == "TimeoutError: too slow"
