"""Who asks, and so whose rows may be seen (ruling R23)."""

from __future__ import annotations

from contextvars import ContextVar
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


LOCAL: Final = Caller(subject="local", is_tenant_admin=True)
"""The caller on stdio: whoever started the server."""

ASKED_FOR: Final[ContextVar[str]] = ContextVar("asked_for", default="")
"""Who stands behind the question under way, where several ask as one caller: a name for limits."""
