"""Lets Chromium download a file, controlled by the DevTools protocol over pipes.

The protocol: https://chromedevtools.github.io/devtools-protocol/tot/Browser/
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

import pytest


def chromium() -> str:
    """Return the path of Chromium; skip the test without it."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser"):
        if name and (path := shutil.which(name)):
            return path
    pytest.skip("Chromium is not installed on this machine")


def download(url: str, directory: Path, *, prefix: Sequence[str] = (), seconds: float) -> Path:
    """Open a URL that is a download, and return the file that the browser saved.

    ``prefix``: the beginning of the browser's command. Raises ``AssertionError`` when the
    download is cancelled or takes longer than ``seconds``.
    """
    with _started(directory / "profile", prefix) as browser:
        behavior = {"behavior": "allow", "downloadPath": str(directory), "eventsEnabled": True}
        browser.send("Browser.setDownloadBehavior", behavior)
        browser.send("Target.createTarget", {"url": url})
        name = ""
        for message in browser.messages(time.monotonic() + seconds):
            assert "error" not in message, message
            if message.get("method") == "Browser.downloadWillBegin":
                name = message["params"]["suggestedFilename"]
            if message.get("method") == "Browser.downloadProgress":
                state = message["params"]["state"]
                assert state != "canceled", message
                if state == "completed":
                    return directory / name
    raise AssertionError(f"Chromium did not download {url} within {seconds} s")


class _Browser:
    def __init__(self, commands: int, responses: int) -> None:
        self._commands, self._responses = commands, responses
        self._sent = 0

    def send(self, method: str, params: dict[str, Any]) -> None:
        self._sent += 1
        command = json.dumps({"id": self._sent, "method": method, "params": params})
        os.write(self._commands, command.encode() + b"\0")

    def messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield responses and events until the deadline, or until the browser ends."""
        received = b""
        while (rest := deadline - time.monotonic()) > 0:
            if not select([self._responses], [], [], rest)[0]:
                return
            data = os.read(self._responses, 65_536)
            if not data:
                return
            *complete, received = (received + data).split(b"\0")
            yield from map(json.loads, complete)


@contextmanager
def _started(profile: Path, prefix: Sequence[str]) -> Iterator[_Browser]:
    command_reader, commands = os.pipe()
    responses, response_writer = os.pipe()
    # Chromium expects the pipes at these descriptors. Other shells than bash know only ten.
    redirect = f'exec "$@" 3<&{command_reader} 4>&{response_writer}'
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
    process = subprocess.Popen(
        [
            *("bash", "-c", redirect, "bash", *prefix, chromium(), *options),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
        ],
        pass_fds=(command_reader, response_writer),
        stderr=subprocess.DEVNULL,
    )
    os.close(command_reader)
    os.close(response_writer)
    try:
        yield _Browser(commands, responses)
    finally:
        os.close(commands)
        os.close(responses)
        process.terminate()
        process.wait(10)
