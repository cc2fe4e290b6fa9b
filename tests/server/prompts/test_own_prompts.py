"""Prompts from a folder of the user's: they come up before ours, and bad files are told."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Connect = Callable[..., AbstractAsyncContextManager[Client]]
Own = Callable[..., Path]

STANDUP: Final = """\
+++
title = "Stand-up"
description = "Yesterday in three lines"

[[arguments]]
name = "range"
description = "the day"
kind = "range"
default = "yesterday"

[[arguments]]
name = "metric"
description = "what to show"
kind = "measure"
default = "errorRate"
+++
Say how {{range}} went.
```json query_distribution
{
  "aggregations": ["{{metric}}"],
  "startTs": "{{range}}"
}
```
```
an example of theirs
```
"""


async def test_their_prompts_come_first_and_replace_ours_by_name(
    connect: Connect, mode: str, own: Own
) -> None:
    folder = own(standup=f"\ufeff{STANDUP}", error_triage=STANDUP)  # one from Windows
    async with connect(mode, prompts=folder) as client:
        prompts = (await client.list_prompts()).prompts
        result = await client.get_prompt("standup", {"metric": "costPerRequest"})
        replaced = await client.get_prompt("error-triage", {})

    names = [prompt.name for prompt in prompts]
    assert names[:2] == ["error-triage", "standup"]
    assert names.count("error-triage") == 1
    assert len(names) == 9
    (message,) = result.messages
    assert isinstance(message.content, TextContent)
    assert message.content.text == (
        'Say how "yesterday" went.\n'
        "```json query_distribution\n"
        '{"aggregations": ["costPerRequest"], "startTs": "yesterday"}\n'
        "```\n```\nan example of theirs\n```"
    )
    assert replaced.description == "Yesterday in three lines"


def _head(*lines: str, argument: str = "") -> str:
    entry = f'[[arguments]]\nname = "team"\ndescription = "one"\n{argument}\n' if argument else ""
    return "\n".join(("+++", 'title = "T"', 'description = "D"', *lines, entry + "+++", "Text", ""))


CALL: Final = "```json {}\n{}\n```\n"
FAULTS: Final[dict[str, tuple[str, int, str]]] = {
    "no front matter": ("Hello", 1, "the first line must be +++"),
    "no end": ("+++\ntitle = 'x'\n", 1, "the front matter has no end"),
    "no TOML": ("+++\ntitle = 'T'\ndescription = \n+++\nText", 3, "not TOML: "),
    "no title": ("+++\ndescription = 'D'\n+++\nText", 1, "title is missing"),
    "unknown key": (_head('titel = "x"'), 4, 'unknown key "titel". Did you mean title?'),
    "no text": ("+++\ntitle = 'T'\ndescription = 'D'\n+++\n\n", 4, "there is no text after"),
    "datasource": (_head('datasource = "cost"'), 4, '"cost" is unknown. '),
    "kind": (_head(argument='kind = "rnage"'), 7, '"rnage" is unknown. Did you mean range?'),
    "choices": (_head(argument='kind = "choice"'), 4, 'kind = "choice" and choices go together'),
    "no choice": (
        _head(argument='kind = "choice"\nchoices = ["a", "b"]\ndefault = "c"'),
        9,
        '"c" is not one of the choices. Allowed: a, b',
    ),
    "bad default": (
        _head(argument='kind = "range"\ndefault = "lst week"'),
        1,
        'the default of team: "lst week"',
    ),
    "no boolean": (_head(argument="required = 1"), 7, "required: expected true or false, got 1"),
    "no list of texts": (
        _head(argument='kind = "choice"\nchoices = ["a", 1]'),
        8,
        'choices: expected a list of texts, such as ["chat", "full"], got 1',
    ),
    "no tables": (_head("arguments = 3"), 4, "arguments: expected tables, [[arguments]], got 3"),
    "no table": (_head("arguments = [3]"), 4, "arguments: expected tables, [[arguments]], got 3"),
    "no name": (
        _head(argument="x = 1").replace('"team"', '"a b"'),
        5,
        '"a b" is not a name: a-z, 0',
    ),
    "no description": (
        _head(argument="required = true").replace('description = "one"\n', ""),
        4,
        "description is missing",
    ),
    "empty": (_head(argument='default = " "'), 7, 'default: expected text, got " "'),
    "long": (_head(f"datasource = '{'x' * 300}'"), 4, "is unknown. "),
    "long title": (
        _head().replace('"T"', f'"{"x" * 257}"'),
        2,
        "title: one line of at most 256 characters",
    ),
    "twice": (
        _head(argument='kind = "text"\n[[arguments]]\nname = "team"\ndescription = "again"'),
        9,
        '"team" appears twice',
    ),
    "unknown key of an argument": (
        _head(argument='knid = "text"'),
        7,
        'unknown key "knid". Did you mean kind?',
    ),
    "never": (
        _head(argument='kind = "choice"\nchoices = ["chat", "full"]')
        + "{{if team = ful}}\n{{end}}",
        11,
        'team can never be "ful". Did you mean full?',
    ),
    "nested": (
        _head(argument='kind = "text"') + "{{if team}}\n{{if team}}\n{{end}}",
        11,
        "an {{if}} inside the one of line 10: they cannot be nested",
    ),
    "no object": (_head() + CALL.format("list_fields", "[]"), 6, "one JSON object"),
    "bad datasource of a call": (
        _head() + CALL.format("list_fields", '{"datasource": "modelMetric"}'),
        6,
        "list_fields: datasource: ",
    ),
    "no argument in a call": (
        _head() + CALL.format("list_fields", '{\n"datasource": "{{tema}}"}'),
        8,
        'no argument "tema". ',
    ),
    "both": (_head(argument='required = true\ndefault = "x"'), 8, "cannot have a default"),
    "no field": (_head(argument='kind = "value"'), 7, 'kind = "value" needs either field, or of'),
    "of nothing": (_head(argument='kind = "value"\nof = "x"'), 8, "of: an argument of kind key"),
    "no argument": (_head() + "Of {{tema}}.", 6, 'no argument "tema". Nothing is allowed here'),
    "may be missing": (
        _head(argument='kind = "text"') + "Of {{team}}.",
        10,
        "team may be missing: put the line between {{if team}} and {{end}}",
    ),
    "no end of if": (_head(argument='kind = "text"') + "{{if team}}\nx", 10, "has no {{end}}"),
    "end alone": (_head() + "{{end}}", 6, "{{end}} without an {{if}}"),
    "bad if": (_head() + "{{if}} x", 6, "must be alone on its line"),
    "no tool": (_head() + CALL.format("query_costs", "{}"), 6, 'no tool "query_costs". '),
    "no JSON": (_head() + CALL.format("query_distribution", "{\n'a': 1}"), 8, "not JSON: "),
    "no such argument of the tool": (
        _head() + CALL.format("query_distribution", '{"group": ["team"]}'),
        6,
        'query_distribution has no argument "group". Did you mean groupBy?',
    ),
    "no such column": (
        _head()
        + CALL.format("query_timeseries", '{"aggregations": ["sum coast"], "startTs": "today"}'),
        6,
        "query_timeseries: aggregations[0]",
    ),
    "block without end": (_head() + "```json query_timeseries\n{}", 6, "this block has no end"),
}


@pytest.mark.parametrize(("text", "line", "says"), FAULTS.values(), ids=FAULTS)
def test_a_bad_file_ends_the_start_with_its_line(own: Own, text: str, line: int, says: str) -> None:
    folder = own(mine=text)
    with pytest.raises(SettingsError) as caught:
        build_server(Settings(prompts=folder))

    assert f"{folder / 'mine.md'}, line {line}: " in str(caught.value)
    assert says in str(caught.value)


def test_all_faults_of_all_files_are_told_at_once(own: Own) -> None:
    folder = own(one=_head('titel = "x"', 'descripton = "x"'), two="no", three=STANDUP)
    (folder / "Bad Name.md").write_text(STANDUP, "utf-8")
    (folder / "latin.md").write_bytes(b"+++\n\xff\n")
    with pytest.raises(SettingsError) as caught:
        build_server(Settings(prompts=folder))

    told = str(caught.value).splitlines()
    places = [line.removeprefix(f"{folder}/").partition(": ")[0] for line in told[1:]]
    assert places == [
        "Bad Name.md, line 1",
        "latin.md, line 2",
        "one.md, line 4",
        "one.md, line 5",
        "two.md, line 1",
    ]


def test_a_wrong_front_matter_does_not_hide_what_is_wrong_below(own: Own) -> None:
    folder = own(
        one=_head('titel = "x"') + "{{end}}\n{{team}}\n" + CALL.format("query_costs", "{}")
    )
    with pytest.raises(SettingsError) as caught:
        build_server(Settings(prompts=folder))

    told = [line.partition("one.md, ")[2] for line in str(caught.value).splitlines()[1:]]
    # Which arguments there are is not known, so their names are not blamed.
    assert [line.partition(".")[0] for line in told] == [
        'line 4: unknown key "titel"',
        "line 7: {{end}} without an {{if}} before it",
        'line 9: no tool "query_costs"',
    ]


def test_what_is_no_file_is_told_and_not_waited_for(own: Own) -> None:
    folder = own(good=STANDUP)
    os.mkfifo(folder / "pipe.md")
    (folder / "folder.md").mkdir()
    (folder / "device.md").symlink_to("/dev/zero")
    (folder / "lost.md").symlink_to(folder / "nowhere")
    with pytest.raises(SettingsError) as caught:
        build_server(Settings(prompts=folder))

    assert str(caught.value).splitlines()[1:] == [
        f"{folder / 'device.md'}, line 1: cannot be read: not a regular file",
        f"{folder / 'folder.md'}, line 1: cannot be read: not a regular file",
        f"{folder / 'lost.md'}, line 1: cannot be read: No such file or directory",
        f"{folder / 'pipe.md'}, line 1: cannot be read: not a regular file",
    ]


def test_a_huge_file_is_told_without_being_read(own: Own) -> None:
    folder = own(small=STANDUP)
    with (folder / "huge.md").open("wb") as file:
        file.truncate(1 << 28)
    tracemalloc.start()
    with pytest.raises(SettingsError, match=r"huge\.md, line 1: more than 100000 bytes"):
        build_server(Settings(prompts=folder))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 27


def test_a_folder_that_is_none_or_empty_is_told(tmp_path: Path) -> None:
    for folder, says in ((tmp_path / "none", "is not a directory"), (tmp_path, "has no file")):
        with pytest.raises(SettingsError, match=says):
            build_server(Settings(prompts=folder))


KINDS: Final = (
    *('"text"', '"number"', '"range"', '"compare"', '"zone"', '"datasource"', '"field"'),
    *('"measure"', '"key"', '"value"\nfield = "team"', '"choice"\nchoices = ["a", "b"]'),
)


@pytest.mark.parametrize("datasource", DATASOURCES)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_argument_of_each_kind_can_be_required(
    connect: Connect, own: Own, kind: str, datasource: str
) -> None:
    text = _head(f'datasource = "{datasource}"', argument=f"kind = {kind}\nrequired = true")
    async with connect(prompts=own(mine=text + "Of {{team}}.\n")) as client:
        (first, *_) = (await client.list_prompts()).prompts

    assert first.name == "mine"
    assert [argument.required for argument in first.arguments or []] == [True]


PIECES: Final = st.one_of(
    st.sampled_from([*STANDUP.splitlines(), "{{end}}", "{{if range}}", "{{if x = y}}", "```"]),
    st.text(max_size=20),
)


@given(pieces=st.lists(PIECES, max_size=30))
def test_any_file_is_either_read_or_explained(pieces: list[str]) -> None:
    text = "\n".join(pieces).encode("utf-8", "surrogatepass")
    with TemporaryDirectory() as folder:
        path = Path(folder, "mine.md")
        path.write_bytes(text)
        try:
            build_server(Settings(prompts=Path(folder)))
        except SettingsError as error:
            faults = str(error).splitlines()[1:]
        else:
            faults = []
    last = len(text.decode("utf-8", "replace").splitlines()) + 2
    for fault in faults:
        if fault.startswith(str(path)):
            place = fault.removeprefix(f"{path}, line ").partition(":")[0]
            assert 1 <= int(place) <= last


@given(cut=st.integers(0, len(STANDUP) - 1), put=st.text(max_size=3))
def test_a_slip_anywhere_is_either_read_or_explained(cut: int, put: str) -> None:
    text = (STANDUP[:cut] + put + STANDUP[cut + 1 :]).encode("utf-8", "surrogatepass")
    with TemporaryDirectory() as folder:
        Path(folder, "mine.md").write_bytes(text)
        try:
            server = build_server(Settings(prompts=Path(folder)))
        except SettingsError as error:
            assert "mine.md, line " in str(error)  # noqa: PT017 - either way is right
            return
    with start_blocking_portal() as portal:
        names = [prompt.name for prompt in portal.call(server.list_prompts)]
    assert names[0] == "mine"
