"""The start-up front of stdio: a second start says the same bytes, before the SDK can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.front import SECRETS, VARIABLES
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import CLICKHOUSE_PASSWORD, GATEWAY_TOKEN, OUR_VARIABLES

TOKEN: Final = "tok-secret-9876"  # noqa: S105 - planted: nothing may hold it
MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
# What is kept depends on the search path.
PATH: Final = f"import sys\nsys.path[:] = {sys.path!r}\n"
SERVE: Final = "from gateway_metrics_mcp.cli.main import main\nraise SystemExit(main({argv!r}))\n"
# The front alone: what it says, it says without the SDK.
FRONT_ONLY: Final = """
import os, sys
from gateway_metrics_mcp.cli.front import Front
front = Front.open({argv!r}, os.environ)
if front._thread is None:
    raise SystemExit("nothing is kept")
front._thread.join()
assert "mcp" not in sys.modules
"""


def handshake(version: str) -> list[dict[str, Any]]:
    client = {"clientInfo": {"name": "test", "version": "1"}, "capabilities": {}}
    return [
        {"id": 0, "method": "initialize", "params": {"protocolVersion": version, **client}},
        {"method": "notifications/initialized"},
        *({"id": number, "method": method} for number, method in enumerate(LISTS, 1)),
    ]


def stateless() -> list[dict[str, Any]]:
    methods = ("server/discover", *LISTS)
    return [
        {"id": f"call-{number}", "method": method, "params": {"_meta": MODERN}}
        for number, method in enumerate(methods)
    ]


ERAS: Final = {
    **{version: handshake(version) for version in ("2024-11-05", "2025-06-18", "2025-11-25")},
    "2026-07-28": stateless(),
}


@dataclass
class Bench:
    """A folder with the two programs, and what a process says to lines."""

    folder: Path
    environment: dict[str, str]
    forked: tuple[str, ...]

    @property
    def kept(self) -> list[Path]:
        """The kept files."""
        return sorted((self.folder / "cache/gateway-metrics-mcp/front").glob("*.lines"))

    def ask(
        self,
        messages: Sequence[dict[str, Any] | bytes],
        *argv: str,
        program: str = SERVE,
        answers: int | None = None,
    ) -> tuple[list[bytes], int, str]:
        """The lines that it answers, its exit code and its stderr."""
        lines = [
            each if isinstance(each, bytes) else json.dumps({"jsonrpc": "2.0", **each}).encode()
            for each in messages
        ]
        if answers is None:
            answers = sum(b'"id"' in line for line in lines)
        # Where no answer is kept, nothing is said before the SDK can.
        is_early = self.kept and "GATEWAY_METRICS_FRONT" not in self.environment
        python = (sys.executable,) if is_early or program is not SERVE else self.forked
        with self.start(program.format(argv=[*argv]), python) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"".join(line + b"\n" for line in lines))
            process.stdin.flush()
            said = [process.stdout.readline() for _ in range(answers)]
            process.stdin.close()
            said += process.stdout.readlines()
            err = process.stderr.read().decode()
        return said, process.returncode, err

    def start(self, program: str, python: Sequence[str] = (sys.executable,)) -> Popen[bytes]:
        """A process of the program, with pipes."""
        return Popen(  # noqa: S603 - this Python, our programs
            [*python, "-c", PATH + program],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ask_front(self, messages: Sequence[dict[str, Any] | bytes], *argv: str) -> list[bytes]:
        """What the front says without the SDK; nothing if it has nothing kept."""
        return self.ask(messages, *argv, program=FRONT_ONLY, answers=0)[0]


@pytest.fixture
def bench(tmp_path: Path, forked: tuple[str, ...]) -> Bench:
    kept = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START")
    variables = {name: os.environ[name] for name in kept if name in os.environ}
    variables |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), GATEWAY_TOKEN: TOKEN}
    return Bench(tmp_path, variables, forked)


@pytest.mark.parametrize(
    "era",
    [
        *(pytest.param(era, marks=pytest.mark.thorough) for era in [*ERAS][:2]),
        *[*ERAS][2:],
    ],
)
def test_a_second_start_says_the_same_bytes_before_the_sdk(bench: Bench, era: str) -> None:
    first, code, _ = bench.ask(ERAS[era])
    assert code == 0
    assert sorted(bench.ask_front(ERAS[era])) == sorted(first)
    again, code, err = bench.ask(ERAS[era])
    assert sorted(again) == sorted(first)
    assert (code, err) == (0, "")
    bench.environment["GATEWAY_METRICS_FRONT"] = "false"
    assert sorted(bench.ask(ERAS[era])[0]) == sorted(first)


def test_other_ids_get_the_same_answers_with_theirs(bench: Bench) -> None:
    first, _, _ = bench.ask(ERAS["2025-11-25"])
    other = [{**m, "id": f"x.{m['id']}"} if "id" in m else m for m in ERAS["2025-11-25"]]
    for before, after in zip(sorted(first), sorted(bench.ask_front(other)), strict=True):
        told, now = json.loads(before), json.loads(after)
        assert now.pop("id") == f"x.{told.pop('id')}"
        assert now == told


def test_another_client_is_answered_by_the_sdk(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    assert bench.ask_front(ERAS["2024-11-05"]) == []
    newer, _, _ = bench.ask(ERAS["2024-11-05"])
    assert json.loads(newer[0])["result"]["protocolVersion"] == "2024-11-05"
    assert len(bench.ask_front(ERAS["2024-11-05"])) == len(newer)
    assert len(bench.ask_front(ERAS["2025-11-25"])) == len(newer)


def _ask_both(
    bench: Bench, messages: Sequence[dict[str, Any] | bytes], answers: int
) -> list[bytes]:
    """What a start with kept answers says, after a check that it is what the SDK says alone."""
    bench.environment["GATEWAY_METRICS_FRONT"] = "false"
    expected = bench.ask(messages, answers=answers)
    del bench.environment["GATEWAY_METRICS_FRONT"]
    said = bench.ask(messages, answers=answers)
    assert (sorted(said[0]), *said[1:]) == (sorted(expected[0]), *expected[1:])
    return said[0]


def test_all_else_reaches_the_sdk_unchanged_and_in_order(bench: Bench) -> None:
    """Also requests whose ids are none, which get an error."""
    bench.ask(ERAS["2025-11-25"])
    call = {"name": "list_fields", "arguments": {"datasource": "modelMetrics"}}
    others: list[dict[str, Any] | bytes] = [
        b"not JSON",
        b'{"jsonrpc":"2.0","id":21,"method":"tools/list","method":"tools/lost"}',
        b'{"jsonrpc":"2.0","id":22,"method":"tools\\/list"}',
        b"[]",
        {"id": 23, "method": "tools/call", "params": call},
        {"id": 24, "method": "prompts/get", "params": {"name": "no-such"}},
        {"id": 25, "method": "tools/list", "params": {"cursor": "1"}},
        {"id": 26, "method": "ping"},
    ]
    no_ids = ("1.0", "1e2", "null", "true", "007", "abc", '"a', "--", "NaN")
    refused = [
        f'{{"jsonrpc": "2.0", "id": {id_}, "method": "tools/list"}}'.encode() for id_ in no_ids
    ]
    # First, as no answer is kept for what comes after other lines.
    said = _ask_both(bench, [*ERAS["2025-11-25"], *refused, *others], answers=22)
    answered = [json.loads(line) for line in said]
    assert {answer["id"] for answer in answered} >= {21, 22, 23, 24, 26}
    assert [answer["id"] for answer in answered if "error" in answer].count(None) == 11


NOT_JSON: Final[dict[bytes, int | str | None]] = {
    b"not JSON": None,
    b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"na': 7,
    b'{"jsonrpc":"2.0","params":{"id":3},"id":"x-1","method":"tools/list"': "x-1",
    b'{"params":{"id":3,"method":"t': None,
    b'{"jsonrpc":"2.0","id":"cut': None,
    b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"x":"\\ud800"}}': "a",
    b"\xff\xfe": None,
}
NO_MESSAGES: Final[dict[bytes, int | str | None]] = {
    b"[]": None,
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]': None,
    b"5": None,
    b'{"jsonrpc":"2.0","id":8}': 8,
    b'{"jsonrpc":"1.0","id":9,"method":"ping"}': 9,
    b'{"jsonrpc":"2.0","id":"b","method":5}': "b",
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}': None,
    b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}': None,
}
UNANSWERED: Final = (b"", b" \r", b'{"jsonrpc":"2.0","id":4,"error":{"x":1}}')
"""No line at all, and a response that is broken: an answer to it could be answered again."""


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
def test_a_line_that_is_no_message_is_answered_with_an_error(bench: Bench, era: str) -> None:
    """With the id where it can be read; a byte order mark before the first line is none."""
    first, *rest = [json.dumps({"jsonrpc": "2.0", **each}).encode() for each in ERAS[era]]
    bad = [*NOT_JSON, *NO_MESSAGES, *UNANSWERED]
    answers = sum(b'"id"' in line for line in (first, *rest)) + len(NOT_JSON) + len(NO_MESSAGES)
    for _ in range(2):  # the second start has the front's answers
        said = _ask_both(bench, [b"\xef\xbb\xbf" + first, *bad, *rest], answers=answers)
        errors = [json.loads(line) for line in said if b'"error":' in line]
        assert [(e["error"]["code"], e["id"]) for e in errors] == [
            *((-32700, id_) for id_ in NOT_JSON.values()),
            *((-32600, id_) for id_ in NO_MESSAGES.values()),
        ]


def test_a_start_that_is_refused_stays_refused(bench: Bench) -> None:
    prompts = bench.folder / "prompts"
    prompts.mkdir()
    (prompts / "own.md").write_text("+++\ntitle = 'Own'\ndescription = 'Own.'\n+++\nHello", "utf-8")
    argv = ("--prompts", str(prompts))
    assert bench.ask(ERAS["2025-11-25"], *argv)[1] == 0
    assert bench.ask_front(ERAS["2025-11-25"], *argv)
    (prompts / "broken.md").write_text("no front matter", "utf-8")
    assert bench.ask_front(ERAS["2025-11-25"], *argv) == []
    said, code, err = bench.ask(ERAS["2025-11-25"], *argv, answers=0)
    assert (said, code) == ([], 1)
    assert "broken.md" in err


def test_a_start_that_fails_keeps_nothing(bench: Bench) -> None:
    assert bench.ask(ERAS["2025-11-25"], "--timezone", "Mars/Base", answers=0)[1] == 1
    assert bench.kept == []


def _write_config(bench: Bench) -> list[str]:
    (bench.folder / "config.toml").write_text("budget = 4000", "utf-8")
    return ["--config", "config.toml"]


def _change_config(bench: Bench) -> None:
    (bench.folder / "config.toml").write_text("budget = 5000", "utf-8")


def _write_token(bench: Bench) -> list[str]:
    (bench.folder / "token").write_text(TOKEN, "utf-8")
    return ["--token-file", "token"]


def _empty_token(bench: Bench) -> None:
    (bench.folder / "token").write_text("", "utf-8")


def _use_nothing(_bench: Bench) -> list[str]:
    return []


def _set_zone(bench: Bench) -> None:
    bench.environment["GATEWAY_METRICS_TIMEZONE"] = "Europe/Berlin"


def _misspell(bench: Bench) -> None:
    bench.environment["GATEWAY_METRICS_TIMEZON"] = "Europe/Berlin"


def _unset_token(bench: Bench) -> None:
    del bench.environment[GATEWAY_TOKEN]


def _damage(bench: Bench) -> None:
    (kept,) = bench.kept
    kept.write_bytes(kept.read_bytes().replace(b"tools", b"fools"))


@pytest.mark.parametrize(
    ("prepare", "change"),
    [
        (_write_config, _change_config),
        (_write_token, _empty_token),
        (_use_nothing, _set_zone),
        (_use_nothing, _misspell),
        (_use_nothing, _unset_token),
        (_use_nothing, _damage),
    ],
)
def test_a_change_ends_what_is_kept(
    bench: Bench, prepare: Callable[[Bench], list[str]], change: Callable[[Bench], None]
) -> None:
    argv = prepare(bench)
    assert bench.ask(ERAS["2025-11-25"], *argv)[1] == 0
    assert bench.ask_front(ERAS["2025-11-25"], *argv)
    change(bench)
    assert bench.ask_front(ERAS["2025-11-25"], *argv) == []


def _falsify(bench: Bench) -> Path:
    """The kept file, with an answer that the SDK does not give."""
    (kept,) = bench.kept
    _, _, body = kept.read_bytes().partition(b"\n")
    body = body.replace(b"query_distribution", b"query_distributiom")
    kept.write_bytes(sha256(body).hexdigest().encode() + b"\n" + body)
    return kept


def test_an_answer_that_the_sdk_gives_otherwise_is_kept_no_longer(bench: Bench) -> None:
    first, _, _ = bench.ask(ERAS["2025-11-25"])
    _falsify(bench)
    bench.ask(ERAS["2025-11-25"])
    assert bench.kept == []
    assert sorted(bench.ask(ERAS["2025-11-25"])[0]) == sorted(first)


def test_a_client_that_leaves_at_once_leaves_no_trace(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    lines = [json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in ERAS["2025-11-25"]]
    with bench.start(SERVE.format(argv=[])) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write("".join(lines).encode())
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_secrets_are_not_kept_and_their_values_do_not_matter(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    (kept,) = bench.kept
    assert TOKEN.encode() not in kept.read_bytes()
    bench.environment[GATEWAY_TOKEN] = "tok-secret-other"
    assert bench.ask_front(ERAS["2025-11-25"])


def test_a_client_that_never_asks_the_same_does_not_fill_the_file(bench: Bench) -> None:
    """Such as one whose requests carry the id of a trace."""
    lists = [
        {"id": n, "method": "tools/list", "params": {"_meta": {**MODERN, "trace": f"{n}"}}}
        for n in range(63)
    ]
    bench.ask(lists)
    (kept,) = bench.kept
    assert kept.read_bytes().count(b'"inputSchema"') <= 60 * len(TOOLS)
    assert len(bench.ask_front(lists[:1])) == 0  # the oldest made room
    assert len(bench.ask_front([lists[0], lists[62]])) == 1


def test_off_keeps_and_says_nothing(bench: Bench) -> None:
    bench.environment["GATEWAY_METRICS_FRONT"] = "false"
    bench.ask(ERAS["2025-11-25"])
    assert bench.kept == []


def test_the_kept_file_is_the_users_alone(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    (kept,) = bench.kept
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.parent.stat().st_mode & 0o077 == 0


def test_it_sees_the_variables_of_the_settings() -> None:
    assert set(OUR_VARIABLES) <= set(VARIABLES)
    assert set(SECRETS) == {GATEWAY_TOKEN, CLICKHOUSE_PASSWORD}


def test_two_open_requests_with_one_id_are_answered_twice(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    same = [{**m, "id": 0} if "id" in m else m for m in ERAS["2025-11-25"][:3]]
    assert len(_ask_both(bench, same, answers=2)) == 2
    assert len(bench.kept) == 1


def test_a_client_that_writes_all_before_it_reads_does_not_hang(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    lists = [{"id": number, "method": "tools/list"} for number in range(100, 160)]
    long = {"id": 200, "method": "ping", "params": {"_meta": {"pad": "x" * 3_000_000}}}
    messages = [*ERAS["2025-11-25"], *lists, long]
    assert len(_ask_both(bench, messages, answers=66)) == 66


def test_a_kept_file_that_cannot_be_deleted_ends_no_session(bench: Bench) -> None:
    first, _, _ = bench.ask(ERAS["2025-11-25"])
    kept = _falsify(bench)
    messages = [*ERAS["2025-11-25"], {"id": 9, "method": "ping"}]
    # Another server deletes it first.
    program = (
        "import os\nfrom gateway_metrics_mcp.cli import front, main\n"
        "enter = front.Front.__enter__\n"
        f"def remove(self):\n    os.unlink({str(kept)!r})\n    return enter(self)\n"
        "front.Front.__enter__ = remove\nraise SystemExit(main.main({argv!r}))\n"
    )
    said, code, err = bench.ask(messages, program=program)
    assert (len(said), code, err) == (len(first) + 1, 0, "")


def test_a_file_may_be_named_like_a_part_of_the_kept_text(bench: Bench) -> None:
    (bench.folder / "answers").write_text("budget = 4000", "utf-8")
    argv = ["--config", "answers"]
    first, _, _ = bench.ask(ERAS["2025-11-25"], *argv)
    assert sorted(bench.ask_front(ERAS["2025-11-25"], *argv)) == sorted(first)


def test_a_key_that_was_made_is_one_of_the_files(bench: Bench) -> None:
    bench.environment |= {"HOME": str(bench.folder), "XDG_STATE_HOME": str(bench.folder / "state")}
    argv = ["--hide-emails", "true"]
    for _ in range(2):  # the first makes the key
        assert bench.ask(ERAS["2025-11-25"], *argv)[1] == 0
    assert bench.ask_front(ERAS["2025-11-25"], *argv)
    (key,) = [path for path in bench.folder.rglob("*gateway-metrics-mcp/*") if path.is_file()]
    key.write_text("short", "utf-8")
    said, code, _ = bench.ask(ERAS["2025-11-25"], *argv, answers=0)
    assert (said, code) == ([], 1)


def test_without_a_place_of_its_own_it_keeps_nothing(bench: Bench) -> None:
    bench.environment["XDG_CACHE_HOME"] = "relative"
    assert bench.ask(ERAS["2025-11-25"])[1] == 0
    assert not (bench.folder / "relative").exists()


def test_a_start_without_stdin_ends(bench: Bench) -> None:
    bench.ask(ERAS["2025-11-25"])
    program = PATH + SERVE.format(argv=[])
    ended = subprocess.run(  # noqa: S603 - this Python, our program
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", program],
        env=bench.environment,
        cwd=bench.folder,
        check=False,
        capture_output=True,
    )
    assert ended.stdout == b""
    assert ended.returncode == 1
