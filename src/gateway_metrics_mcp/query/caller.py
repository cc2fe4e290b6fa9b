"""Who asks, and so whose rows may be seen (ruling R23)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

SubjectType = Literal["user", "virtualaccount"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The subject of a question.

    A tenant admin sees all rows; anyone else those of the own subject and of the own teams.
    `token` is the caller's gateway token where each brings their own; it is in no repr.
    """

    subject: str
    subject_type: SubjectType = "user"
    teams: frozenset[str] = frozenset()
    is_tenant_admin: bool = False
    token: str | None = field(default=None, repr=False)
    has_server_token: bool = False
    """Whether a gateway is asked with this server's own token: a flag, so that no subject of that
    name in an operator's file gets it."""
    owner: str = field(default="", compare=False, repr=False)
    """Who stands behind the caller, where several ask as one: a digest, for limits. It is left out
    of comparisons, so that what they may all see is cached once."""


LOCAL: Final = Caller(subject="local", is_tenant_admin=True, has_server_token=True)
"""The caller on stdio: whoever started the server."""
