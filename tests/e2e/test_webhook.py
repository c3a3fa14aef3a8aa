"""A webhook from the running system is signed and contains a valid download URL."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
from standardwebhooks import Webhook

from stack.process import wait_until
from stack.sample_catalog import SMALL
from stack.system import System
from tests.support.webhook_receiver import running

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_finished_job_is_reported_to_its_callback_url(tmp_path: Path) -> None:
    env = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "true"}
    system = System(tmp_path, files=SMALL, env=env)
    with running() as receiver, system, httpx.Client(base_url=system.base_url) as http:
        receiver.responses = [(500, {}), (204, {})]
        body = {
            "file_ids": [sample.file_id for sample in SMALL[:2]],
            "callbackUrl": receiver.url(),
            "metadata": {"order": 7},
        }
        job = http.post("/v1/download/initiate", json=body).json()
        first, second = receiver.wait_for(2)
        for post in (first, second):
            Webhook(SECRET).verify(post.body, post.headers)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        event = orjson.loads(second.body)
        assert (event["type"], event["data"]["jobId"]) == ("download.completed", job["jobId"])
        assert event["data"]["metadata"] == {"order": 7}
        archive = httpx.get(event["data"]["downloadUrl"])
        assert len(archive.content) == event["data"]["fileSize"]
        log = f"/v1/download/{job['jobId']}/deliveries"
        wait_until(lambda: http.get(log).json()["deliveries"][0]["state"] == "delivered", "the log")
        (delivery,) = http.get(log).json()["deliveries"]
        assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 204]
