"""Python client for Longhaul: start a download, watch it live, fetch the archive, verify it."""

from .client import Longhaul
from .errors import (
    ApiProblem,
    ChecksumMismatch,
    JobUnsuccessful,
    LonghaulClientError,
    TransferFailed,
    Unreachable,
)
from .job import Job

__all__ = [
    "ApiProblem",
    "ChecksumMismatch",
    "Job",
    "JobUnsuccessful",
    "Longhaul",
    "LonghaulClientError",
    "TransferFailed",
    "Unreachable",
]
