"""Runs LocalStack's S3 on this machine, without Docker. Runs in LocalStack's own environment."""

import os
import runpy

import localstack.services.s3.constants as constants

constants.DEFAULT_PRE_SIGNED_SECRET_ACCESS_KEY = os.environ["SECRET_KEY"]

from localstack import config  # noqa: E402

config.dirs = config.Directories.for_host()
config.dirs.mkdirs()

import localstack.services.s3.provider as provider  # noqa: E402

provider.DEFAULT_S3_TMP_DIR = os.environ["FILESYSTEM_ROOT"] + "/s3"
runpy.run_module("localstack.runtime.main", run_name="__main__", alter_sys=True)
