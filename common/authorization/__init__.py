"""Which files a user may have: everything, what the token lists, or what a service decides.

The API checks this before it creates a job and before it hands out a download. The worker checks it
at the start of every attempt and before it reuses an archive. docs/authorization.md explains it.
"""

from common.authorization.base import AllFiles, FileAuthorizer
from common.authorization.claimed_files import ClaimedFiles
from common.authorization.service import AuthorizationService

__all__ = ["AllFiles", "AuthorizationService", "ClaimedFiles", "FileAuthorizer"]
