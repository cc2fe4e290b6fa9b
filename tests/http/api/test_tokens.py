"""The tokens file, the tokens in it, and who is let in by them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from gateway_metrics_mcp.auth.tokens import (
    OperatorFile,
    TokenEntry,
    Tokens,
    make_token,
    read_tokens,
)
from gateway_metrics_mcp.errors import ExpiredTokenError, RefusedCallerError, SettingsError
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)

RunApi = Callable[..., AbstractAsyncContextManager[Any]]
July = Callable[..., dict[str, Any]]


def make(**changes: Any) -> tuple[str, TokenEntry]:
    given = {
        "subject": "ada@example.com",
        "subject_type": "user",
        "teams": ["search"],
        "is_tenant_admin": False,
        "expires": None,
        **changes,
    }
    return make_token(**given)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teams": []},
        {"teams": ["a", 'say "hi"', "back\\slash", "tab\tand\nline", "😀", "\x7f"]},
        {"subject": "it's", "subject_type": "virtualaccount"},
        {"is_tenant_admin": True},
        {"expires": datetime(2026, 10, 1, 12, 30, 15, tzinfo=UTC)},
    ],
)
def test_a_new_token_is_known_by_the_entry_that_is_printed_for_it(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    token, entry = make(**changes)
    file = tmp_path / "tokens.toml"
    file.write_text(entry.to_toml(), "utf-8")

    tokens = read_tokens(file)

    assert tokens.tokens == (entry,)
    assert tokens.find_caller(f"Bearer {token}", NOW) == entry.caller
    assert token not in file.read_text("utf-8")
    assert entry.sha256 == hashlib.sha256(token.encode()).hexdigest()


def test_tokens_differ_and_can_be_told_from_other_text() -> None:
    made = [make()[0] for _ in range(50)]

    assert len(set(made)) == 50
    assert all(re.fullmatch(r"gmm_[\w-]{43}", token, re.ASCII) for token in made)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer x{token}",
        "Bearer {sha256}",
        "Bearer {token} {token}",
        "Bearer \udcff",
        "Bearer é",
    ],
)
def test_what_is_no_known_bearer_token_is_refused(given: str | None) -> None:
    token, entry = make()
    header = None if given is None else given.format(token=token, sha256=entry.sha256)

    with pytest.raises(RefusedCallerError) as caught:
        Tokens(tokens=(entry,)).find_caller(header, NOW)

    assert token not in str(caught.value)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    token, entry = make()

    assert (
        Tokens(tokens=(entry,)).find_caller(f"{scheme} {token}", NOW).subject == "ada@example.com"
    )


def test_each_of_many_tokens_speaks_for_its_own_caller() -> None:
    made = [make(subject=f"user-{number}@example.com") for number in range(5)]
    tokens = Tokens(tokens=tuple(entry for _, entry in made))

    callers = [tokens.find_caller(f"Bearer {token}", NOW) for token, _ in made]

    assert callers == [entry.caller for _, entry in made]


def test_a_token_that_is_right_but_for_its_end_or_one_letter_is_refused() -> None:
    token, entry = make()
    tokens = Tokens(tokens=(make()[1], entry, make()[1]))
    places = range(len(token))
    cut = [token[:place] for place in places]
    other = [f"{token[:i]}{'A' if token[i] != 'A' else 'B'}{token[i + 1 :]}" for i in places]

    for wrong in (*cut, *other, token.swapcase(), entry.sha256, token + "A"):
        with pytest.raises(RefusedCallerError):
            tokens.find_caller(f"Bearer {wrong}", NOW)


def test_a_token_ends_at_its_time() -> None:
    token, entry = make(expires=NOW)
    tokens = Tokens(tokens=(entry,))

    assert tokens.find_caller(f"Bearer {token}", NOW - timedelta(seconds=1)) == entry.caller
    with pytest.raises(ExpiredTokenError):
        tokens.find_caller(f"Bearer {token}", NOW)


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("")

    with pytest.raises(RefusedCallerError):
        read_tokens(file).find_caller(None, NOW)


DIGEST: Final = "a" * 64
PLANTED: Final = "gmm_planted-token-1234"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[[tokens", "cannot be read: "),
        ("\xff", "cannot be read: "),
        ("x = " + "[" * 5000, "cannot be read: "),
        ('[[token]]\nsha256 = "x"', "has [[tokens]] entries and nothing else"),
        ("tokens = 3", "has [[tokens]] entries and nothing else"),
        ("tokens = [3]", "token 1: "),
        ('[[tokens]]\nsubject = "x"', "token 1: sha256: Field required"),
        (f'[[tokens]]\nsha256 = "{DIGEST}"', "token 1: subject: Field required"),
        (f'[[tokens]]\nsha256 = "{DIGEST[1:]}"\nsubject = "x"', "token 1: sha256: "),
        (f'[[tokens]]\nsha256 = "{PLANTED}"\nsubject = "x"', "token 1: sha256: "),
        (f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = ""', "token 1: subject: "),
        (f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\ntype = "service"', "token 1: type: "),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\nadmin = true',
            "token 1: unknown key",
        ),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\n{PLANTED} = 1',
            "token 1: unknown key",
        ),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\ntenant_admin = "yes"',
            "token 1: tenant_admin: ",
        ),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\ntenant_admin = 1',
            "token 1: tenant_admin: ",
        ),
        (f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\nteams = "all"', "token 1: teams: "),
        (f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\nteams = [1]', "token 1: teams.0: "),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\nexpires = 2026-01-01T00:00:00',
            "token 1: expires: ",
        ),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\nexpires = 90',
            "token 1: expires: ",
        ),
        (
            f'[[tokens]]\nsha256 = "{DIGEST}"\nsubject = "x"\n' * 2,
            "lists one sha256 twice",
        ),
    ],
)
def test_a_wrong_tokens_file_is_explained_without_its_secrets(
    tmp_path: Path, text: str, wrong: str
) -> None:
    file = tmp_path / "tokens.toml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(SettingsError) as caught:
        read_tokens(file)

    message = str(caught.value)
    assert message.startswith(f"the tokens file {file}")
    assert wrong in message
    assert DIGEST not in message
    assert PLANTED not in message


def test_a_missing_tokens_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_tokens(tmp_path / "none.toml")


def test_a_file_that_became_wrong_leaves_the_old_tokens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token, entry = make()
    file = tmp_path / "tokens.toml"
    file.write_text(entry.to_toml(), "utf-8")
    book = OperatorFile(file, read_tokens, "tokens")

    for text in ("[[tokens", "x = " + "[" * 5000):
        file.write_text(text, "utf-8")
        book.reload()

    assert book.current.find_caller(f"Bearer {token}", NOW) == entry.caller
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "the tokens stay unchanged" in caplog.text


def test_tokens_from_a_pipe_stay_as_the_start_read_them(caplog: pytest.LogCaptureFixture) -> None:
    """A shell's (`--tokens <(...)`) is empty by then, which would let nobody in."""
    token, entry = make()
    end, start = os.pipe()
    os.write(start, entry.to_toml().encode())
    os.close(start)
    book = OperatorFile(Path(f"/dev/fd/{end}"), read_tokens, "tokens")
    book.reload()
    os.close(end)

    assert book.current.find_caller(f"Bearer {token}", NOW) == entry.caller
    assert "the tokens stay unchanged" in caplog.text


async def test_a_hangup_reads_the_tokens_again(run_api: RunApi, july: July, tmp_path: Path) -> None:
    first, second = make(), make(subject="bob@example.com", teams=[])
    file = tmp_path / "tokens.toml"
    await anyio.Path(file).write_text(first[1].to_toml(), "utf-8")
    statuses = []
    async with (
        run_api("--tokens", str(file)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):

        async def ask() -> None:
            for token, _ in (first, second):
                headers = {"authorization": f"Bearer {token}"}
                response = await client.post(PATH, json=july(), headers=headers)
                statuses.append(response.status_code)

        await ask()
        await anyio.Path(file).write_text(second[1].to_toml(), "utf-8")
        await ask()
        server.process.send_signal(signal.SIGHUP)
        await server.wait_for(f"reloaded {file}")
        await ask()
        await anyio.Path(file).write_text("[[tokens", "utf-8")
        server.process.send_signal(signal.SIGHUP)
        await server.wait_for("the tokens stay unchanged")
        await ask()

    assert statuses == [200, 401, 200, 401, 401, 200, 401, 200]


async def test_a_token_is_in_no_log_error_or_process_list(
    run_api: RunApi, july: July, tmp_path: Path
) -> None:
    good, late = make(), make(expires=datetime(2020, 1, 1, tzinfo=UTC))
    unknown = "gmm_unknown-token-1234"
    file = tmp_path / "tokens.toml"
    await anyio.Path(file).write_text(f"{good[1].to_toml()}\n{late[1].to_toml()}", "utf-8")
    texts = []
    flags = ("--tokens", str(file), "--log-level", "DEBUG")
    program = (sys.executable, "-m", "gateway_metrics_mcp")  # in the process list as it is
    async with (
        run_api(*flags, program=program) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        for token in (good[0], late[0], unknown):
            for scheme in ("Bearer", "Basic", "Bearer Bearer"):
                for body in (july(), july(groupBy=["x"]), "text"):
                    headers = {"authorization": f"{scheme} {token}"}
                    response = await client.post(PATH, json=body, headers=headers)
                    texts += [response.text, repr(response.headers)]
        shown = await anyio.Path(f"/proc/{server.process.pid}/cmdline").read_text()
        shown += await anyio.Path(f"/proc/{server.process.pid}/environ").read_text()

    assert "tool=api:query" in server.said
    found = [good[0], late[0], unknown, good[1].sha256, late[1].sha256]
    assert [text for text in (*texts, shown, server.said) if any(t in text for t in found)] == []
