"""The operator's file of subjects: who an identity provider's subject is here."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from gateway_metrics_mcp.auth.credentials import caller_of_token, find_fault
from gateway_metrics_mcp.auth.tokens import Name
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.caller import Caller, SubjectType

logger = logging.getLogger(__name__)


class _GatewaySubject(BaseModel):
    """A subject with a gateway token, in a file or a variable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_file: Path | None = None
    token_env: Name | None = None


class _EngineSubject(BaseModel):
    """A subject whose rows the access rules tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Name
    type: SubjectType = "user"
    teams: tuple[Name, ...] = ()
    tenant_admin: StrictBool = False


class SubjectFile:
    """The subjects in force; the file is read again when it is asked for."""

    def __init__(self, path: Path, *, is_remote: bool) -> None:
        self._path = path
        self._is_remote = is_remote
        self._callers = read_subjects(path, is_remote=is_remote)

    def find(self, subject: str) -> Caller | None:
        """Who the subject is here, if anybody."""
        return self._callers.get(subject)

    def reload(self) -> None:
        """Read the file again; what is wrong with it is logged, and the old subjects stay."""
        try:
            self._callers = read_subjects(self._path, is_remote=self._is_remote)
        except SettingsError as error:
            logger.error("the subjects stay as they were: %s", error)  # noqa: TRY400 - no fault of ours
        else:
            logger.warning("read %s again", self._path)


def read_subjects(path: Path, *, is_remote: bool) -> Mapping[str, Caller]:
    """The callers of the file, by subject.

    Raises:
        SettingsError: if it cannot be read, or an entry is wrong; no token is shown.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "not TOML"
        raise SettingsError(f"the subjects file {path} cannot be read: {reason}") from None
    subjects = raw.get("subjects", {})
    if set(raw) - {"subjects"} or not isinstance(subjects, dict):
        raise SettingsError(
            f'the subjects file {path} has [subjects."<subject>"] tables, nothing else'
        )
    read = _read_gateway_subject if is_remote else _read_engine_subject
    found = {}
    for number, (subject, entry) in enumerate(subjects.items(), 1):
        try:
            found[subject] = read(path, subject, entry)
        except ValidationError as error:
            wrong = f"the subjects file {path}, subject {number}: {_explain(error)}"
        except ValueError as error:
            wrong = f"the subjects file {path}, subject {number}: {error}"
        else:
            continue
        raise SettingsError(wrong)
    return found


def _read_gateway_subject(path: Path, subject: str, entry: Any) -> Caller:
    given = _GatewaySubject.model_validate(entry)
    if (given.token_file is None) == (given.token_env is None):
        raise ValueError("give token_file or token_env, one of them")
    if given.token_file is not None:
        try:
            token = (path.parent / given.token_file.expanduser()).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ValueError("its token_file cannot be read") from None
    else:
        token = os.environ.get(given.token_env or "", "").strip()
    if not token:
        raise ValueError("there is no token")
    if fault := find_fault(token):
        raise ValueError(f"its token {fault}")
    return caller_of_token(token, subject)


def _read_engine_subject(_path: Path, _subject: str, entry: Any) -> Caller:
    given = _EngineSubject.model_validate(entry)
    return Caller(given.subject, given.type, frozenset(given.teams), given.tenant_admin)


def _explain(error: ValidationError) -> str:
    """What is wrong with an entry, without its values: a token may stand there by mistake."""
    return "; ".join(
        "an unknown key, or one for another kind of backend"
        if e["type"] == "extra_forbidden"
        else f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
        for e in error.errors()
    )
