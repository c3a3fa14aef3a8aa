"""The interface of an authorizer, and the one that allows everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

#: The claims of a user without a token, as ``FileAuthorizer.select_claims`` returns them.
NO_CLAIMS = "{}"


class FileAuthorizer(Protocol):
    """Decides which files a user may have. Thread safe."""

    @property
    def allows_everything(self) -> bool:
        """Whether every user may have every file, so that nothing needs to be checked."""

    @property
    def is_revocable(self) -> bool:
        """Whether decisions may change, so that each download has to be checked again.

        Otherwise, a decision depends only on the token.
        """

    def select_claims(self, claims: Mapping[str, Any]) -> str:
        """Return the claims of a token that decisions depend on, as JSON."""

    def denied(self, user: str, claims: str, file_ids: Sequence[int]) -> frozenset[int]:
        """Return those of the files that the user may not have.

        ``claims`` is what ``select_claims`` returned. Raise ``BackendUnavailable`` if there is no
        decision: then the user gets none of the files.
        """


class AllFiles:
    """Allows every file to every user."""

    allows_everything = True
    is_revocable = False

    def select_claims(self, claims: Mapping[str, Any]) -> str:  # noqa: ARG002
        return NO_CLAIMS

    def denied(
        self,
        user: str,  # noqa: ARG002
        claims: str,  # noqa: ARG002
        file_ids: Sequence[int],  # noqa: ARG002
    ) -> frozenset[int]:
        return frozenset()
