"""The caller of a query, whose rights decide which rows it may read (ruling R23)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

SubjectType = Literal["user", "virtualaccount"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The subject a query runs as.

    A tenant admin sees all rows; other callers see their own rows and their teams' (R23). `token`
    is the caller's gateway token, if each caller sends one; it is excluded from the repr.
    """

    subject: str
    subject_type: SubjectType = "user"
    teams: frozenset[str] = frozenset()
    is_tenant_admin: bool = False
    token: str | None = field(default=None, repr=False)
    has_server_token: bool = False
    """Whether the gateway is called with this server's own token. A flag, because an entry of a
    tokens file may have the same subject and rights as LOCAL and must not get that token."""
    owner: str = field(default="", compare=False, repr=False)
    """A digest of who sent the request, for rate limits and connections. With a shared token many
    owners run as one caller, so it is excluded from comparison: they share the cache."""

    @property
    def is_restricted(self) -> bool:
        """Whether our rules restrict its rows (R23); a gateway restricts by token instead."""
        return not (self.is_tenant_admin or self.token)


LOCAL: Final = Caller(subject="local", is_tenant_admin=True, has_server_token=True)
"""The caller over stdio, where the server acts for the user who started it."""
