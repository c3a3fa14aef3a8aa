"""No secret gets into the logs: detected by name, by pattern and by value."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from common.observability.logs import configure_logging
from common.observability.redaction import MASK, Redactor
from common.settings import Settings

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "redis://:pa55word@valkey:6379/0 is unavailable",
            f"redis://:{MASK}@valkey:6379/0 is unavailable",
        ),
        ("postgresql://u:p%40ss@db/x", f"postgresql://u:{MASK}@db/x"),
        ("Authorization: Bearer abc.def-1", f"Authorization: Bearer {MASK}"),
        (f"token {TOKEN} is bad", f"token {MASK} is bad"),
        ("/subscribe/1?ticket=WyJh.b-c&x=1", f"/subscribe/1?ticket={MASK}&x=1"),
        (
            "http://s3/a?X-Amz-Credential=k%2F1&X-Amz-Signature=0a1b&part=2",
            f"http://s3/a?X-Amz-Credential={MASK}&X-Amz-Signature={MASK}&part=2",
        ),
        ("signed with whsec_MfKQ9r8GKYqr", f"signed with {MASK}"),
        (f"a-{TOKEN}.b", f"a-{MASK}.b"),
        ("a.b.eyJx.y.z", f"a.b.{MASK}"),
        ("made at 10:20:30 by user@host", "made at 10:20:30 by user@host"),
        ("http://host:8080/a@b?page=2", "http://host:8080/a@b?page=2"),
    ],
)
def test_only_what_looks_like_a_secret_is_masked(said: str, shown: str) -> None:
    assert Redactor().clean(said) == shown


def test_a_configured_secret_is_masked_everywhere() -> None:
    redactor = Redactor(["hunter22", "hunter22-longer", "ab"])
    assert (
        redactor.clean("is hunter22 or hunter22-longer; ab stays")
        == f"is {MASK} or {MASK}; ab stays"
    )


def test_members_are_masked_by_name_at_any_depth() -> None:
    event = {
        "event": "request",
        "headers": {"Authorization": "x", "Cookie": "y", "Accept": "z"},
        "jobs": [{"callback_url": "https://h/?k=1", "size": 5, "ratio": 0.5, "done": True}],
        "downloadUrl": "https://s3/…",
        "error": ValueError("redis://:pa55@h"),
    }
    assert Redactor()(None, "info", event) == {
        "event": "request",
        "headers": {"Authorization": MASK, "Cookie": MASK, "Accept": "z"},
        "jobs": [{"callback_url": MASK, "size": 5, "ratio": 0.5, "done": True}],
        "downloadUrl": MASK,
        "error": f"ValueError('redis://:{MASK}@h')",
    }


@pytest.mark.parametrize("name", ["query_string", "QUERY_STRING"])
@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("ticket=WyJh.b-c&lastEventId=3", f"ticket={MASK}&lastEventId=3"),
        ("lastEventId=3&ticket=WyJh.b-c", f"lastEventId=3&ticket={MASK}"),
        ("%74icket=WyJh.b-c", f"%74icket={MASK}"),
        ("access_token=a=b", f"access_token={MASK}"),
        ("sig=1&key=2&X-Amz-Signature=3", f"sig={MASK}&key={MASK}&X-Amz-Signature={MASK}"),
        ("limit=5&cursor=WzE", "limit=5&cursor=WzE"),
        ("", ""),
        ([["ticket", "WyJh.b-c"]], MASK),
    ],
)
def test_tickets_are_masked_in_a_query_without_question_mark(
    name: str, query: object, shown: str
) -> None:
    """Sentry's WSGI integration sends QUERY_STRING as it is."""
    event = {"request": {name: query, "url": "http://h/v1/download/subscribe/1"}}
    assert Redactor().clean(event)["request"][name] == shown


def test_a_value_that_is_nested_too_deeply_is_masked() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert MASK in repr(Redactor().clean(endless))


def test_logs_of_longhaul_and_of_libraries_are_json_without_secrets(
    capfd: pytest.CaptureFixture[str], default_logging: None
) -> None:
    configure_logging("INFO", ["hunter22"])
    with structlog.contextvars.bound_contextvars(job_id="j1", trace_id="t1"):
        structlog.get_logger("ours").warning("mine", password="x", note="hunter22")
        error = ConnectionError("redis://:pa55word@h is unavailable")
        logging.getLogger("celery").error("theirs %s", "hunter22", exc_info=error)
    mine, theirs = map(json.loads, capfd.readouterr().err.splitlines())
    assert (mine["password"], mine["note"]) == (MASK, MASK)
    assert (theirs["event"], theirs["logger"]) == (f"theirs {MASK}", "celery")
    assert (mine["job_id"], theirs["trace_id"]) == ("j1", "t1")
    assert "pa55word" not in json.dumps(theirs)
    assert f"redis://:{MASK}@h is unavailable" in theirs["exception"]


def test_a_record_that_cannot_be_written_is_not_printed_otherwise(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, default_logging: None
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("hunter22")

    configure_logging("INFO", ["hunter22"])
    monkeypatch.setattr(Redactor, "clean", broken)
    structlog.get_logger("ours").warning("hunter22")
    said = capfd.readouterr().err
    assert "a log record of ours was not written" in said
    assert "hunter22" not in said


def test_settings_list_their_secrets_and_leave_them_out_of_repr() -> None:
    settings = Settings(
        redis_url="redis://:r3dis@h/0",
        database_url="postgresql://u:p0stgres@h/x",
        ticket_secret="l1nk",
        webhook_secret="whsec_one whsec_two",
        admin_token="adm1n",
        jwt_secret="jwts3cret",
        sentry_dsn="https://public@sentry.example/1",
    )
    secrets = {"r3dis", "p0stgres", "l1nk", "whsec_one", "whsec_two", "adm1n", "jwts3cret"}
    assert settings.secrets() == secrets
    assert not [secret for secret in secrets if secret in repr(settings)]


@pytest.mark.timeout(5)
@pytest.mark.parametrize("part", ["token", "eyJ-", "eyJ-a.", "token=&?", "://a:b", "Bearer "])
def test_long_texts_take_linear_time(part: str) -> None:
    # CWE-1333: if the search started again at each part, this would take minutes.
    text = f"?{part * (500_000 // len(part))}"
    assert len(Redactor().clean(text)) <= len(text)
