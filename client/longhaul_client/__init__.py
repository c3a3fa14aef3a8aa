"""A Python client for Longhaul: starts and watches downloads, fetches and verifies archives."""

from .client import Longhaul
from .errors import (
    ApiProblem,
    ChecksumMismatch,
    InvalidSetting,
    JobUnsuccessful,
    LonghaulClientError,
    TransferFailed,
    Unreachable,
)
from .job import Job

__all__ = [
    "ApiProblem",
    "ChecksumMismatch",
    "InvalidSetting",
    "Job",
    "JobUnsuccessful",
    "Longhaul",
    "LonghaulClientError",
    "TransferFailed",
    "Unreachable",
]
