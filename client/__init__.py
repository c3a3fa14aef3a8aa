"""Python client for Longhaul: start a download, watch it live, fetch the archive, verify it."""

from client.api import Longhaul
from client.errors import (
    ApiProblem,
    ChecksumMismatch,
    JobUnsuccessful,
    LonghaulClientError,
    TransferFailed,
    Unreachable,
)
from client.model import Job

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
