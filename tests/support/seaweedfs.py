"""Administers a running SeaweedFS: full buckets and users with limited permissions."""

from __future__ import annotations

import subprocess
from typing import cast

from common.object_storage import ObjectStorage
from stack.services import S3

USER, ACCESS_KEY, SECRET_KEY = "job", "job-key", "job-secret"
ACTIONS = "Read,Write,List,Tagging"


def run_shell_command(server: S3, command: str) -> str:
    """Run a command of ``weed shell`` and return its output."""
    args = cast("list[str]", server.process.popen.args)
    ports = dict(arg[1:].split("=", 1) for arg in args if "port" in arg)
    process = subprocess.run(
        [
            args[0], "shell",
            f"-master=127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}",
            f"-filer=127.0.0.1:{ports['filer.port']}.{ports['filer.port.grpc']}",
        ],
        input=f"{command}\n", capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return process.stdout


def add_user(server: S3) -> ObjectStorage:
    """Return the storage as a user sees it who may read and write, but is no administrator."""
    run_shell_command(
        server,
        f"s3.configure -user={USER} -access_key={ACCESS_KEY} -secret_key={SECRET_KEY} "
        f"-actions={ACTIONS} -apply",
    )
    return ObjectStorage(
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )


def revoke_writes(server: S3) -> None:
    """Take the permission to write from the user of ``add_user``."""
    run_shell_command(server, f"s3.configure -user={USER} -actions=Write -delete -apply")


def reject_writes(server: S3, bucket: str) -> None:
    """Make a bucket read-only, as SeaweedFS does when the bucket's quota is used up."""
    run_shell_command(server, f"fs.configure -locationPrefix=/buckets/{bucket} -readOnly -apply")
