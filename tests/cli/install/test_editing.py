"""Edits of JSON with comments: what is asked changes, and no other byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.cli.install.jsonc import JsoncError, Text

OURS: Final = {"command": "/bin/ours", "args": ["--backend", "demo:"]}
_NAMES: Final = st.sampled_from(["a", "b", "servers", "é", 'q"', "// no comment"])
_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=12,
)
_SERVERS: Final = st.dictionaries(_NAMES, _VALUES, max_size=3)
_SPACES: Final = st.sampled_from(["", " ", "\n", "\r\n  ", "\t"])
_GAPS: Final = _SPACES | st.sampled_from(
    [" // note\n", "/* a, b */", "\n  /* {\n } */\n  ", '// "x": 1,\n', "//\r\n\t"]
)


@st.composite
def texts(draw: st.DrawFn, value: Any, *, is_lenient: bool) -> str:
    """A way to write the value down."""

    def gap() -> str:
        return draw(_GAPS if is_lenient else _SPACES)

    def write(value: Any) -> str:
        if not isinstance(value, list | dict):
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        parts = [
            f"{json.dumps(each, ensure_ascii=False)}{gap()}:{gap()}{write(value[each])}"
            if isinstance(value, dict)
            else write(each)
            for each in value
        ]
        inside = ",".join(f"{gap()}{part}{gap()}" for part in parts) or gap()
        comma = "," if parts and is_lenient and draw(st.booleans()) else ""
        first, last = "{}" if isinstance(value, dict) else "[]"
        return f"{first}{inside}{comma}{gap() if comma else ''}{last}"

    return f"{gap()}{write(value)}{gap()}"


@st.composite
def written(draw: st.DrawFn, value: Any) -> Text:
    """A text of the value, for a client that takes comments or for one that does not."""
    is_lenient = draw(st.booleans())
    return Text(draw(texts(value, is_lenient=is_lenient)), is_lenient)


def read(text: Text) -> Any:
    return text.root.value


def comments(text: Text) -> list[str]:
    return [text.text[start:end] for start, end in text.comments]


@given(st.data(), _SERVERS)
def test_any_way_to_write_a_value_is_read(data: st.DataObject, value: Any) -> None:
    assert read(data.draw(written(value))) == value


@given(st.data(), _SERVERS, _SERVERS)
def test_an_entry_comes_in_and_goes_and_leaves_every_byte(
    data: st.DataObject, servers: dict[str, Any], root: dict[str, Any]
) -> None:
    value = {**root, "servers": servers}
    before = data.draw(written(value))

    with_ours = before.set(("servers", "ours"), OURS)
    after = with_ours.remove(("servers", "ours"))

    assert read(with_ours) == {**value, "servers": {**servers, "ours": OURS}}
    assert [*read(with_ours)["servers"]] == [*servers, "ours"]
    assert comments(with_ours) == comments(before)
    assert read(after) == value
    if servers:  # of an empty object the space within may go
        assert after.text == before.text
    assert comments(after) == comments(before)
    assert with_ours.set(("servers", "ours"), OURS) is with_ours


@given(st.data(), _SERVERS, _SERVERS)
def test_objects_on_the_way_are_made(
    data: st.DataObject, root: dict[str, Any], other: dict[str, Any]
) -> None:
    root.pop("servers", None)
    before = Text(data.draw(texts({**root, "other": other}, is_lenient=True)), is_lenient=True)

    after = before.set(("servers", "ours"), OURS)

    assert read(after) == {**root, "other": other, "servers": {"ours": OURS}}
    assert after.remove(("servers",)).text == before.text


@given(st.data(), _SERVERS.filter(bool))
def test_any_member_can_be_taken_out(data: st.DataObject, servers: dict[str, Any]) -> None:
    text = data.draw(written({"servers": servers}))
    gone = data.draw(st.sampled_from([*servers]))

    after = text.remove(("servers", gone))

    assert read(after) == {"servers": {key: servers[key] for key in servers if key != gone}}


@given(st.data(), st.lists(_VALUES, min_size=1, max_size=4))
def test_items_come_in_and_go(data: st.DataObject, items: list[Any]) -> None:
    before = data.draw(written({"inputs": items}))

    with_ours = before.append(("inputs",), OURS)

    assert read(with_ours) == {"inputs": [*items, OURS]}
    assert with_ours.remove_item(("inputs",), len(items)).text == before.text
    place = data.draw(st.integers(0, len(items)))
    fewer = [*items, OURS]
    del fewer[place]
    assert read(with_ours.remove_item(("inputs",), place)) == {"inputs": fewer}


def outcome(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except JsoncError as error:
        return f"refused: {error}"
    except ValueError:
        return "refused"


@given(st.text(alphabet='{}[]":,/*\n 1atrue\\', max_size=30))
def test_a_strict_client_reads_what_json_is_and_nothing_else(text: str) -> None:
    ours = outcome(lambda: Text(text, is_lenient=False).root.value)
    theirs = outcome(lambda: json.loads(text))

    assert str(ours).startswith("refused: line ") if theirs == "refused" else ours == theirs


def test_the_last_of_two_equal_names_counts_and_both_go() -> None:
    text = Text('{"a": 1, "ours": 1, "ours": 2}', is_lenient=False)

    assert text.get(("ours",)) == 2
    assert text.set(("ours",), 3).text == '{"a": 1, "ours": 1, "ours": 3}'
    assert text.remove(("ours",)).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"s": {}}', '{"s": {"x": 1}}'),
        ('{"a": 1}', '{"a": 1, "s": {"x": 1}}'),
        ("{}\n", '{\n  "s": {\n    "x": 1\n  }\n}\n'),
        ('{\n\t"a": 1\n}', '{\n\t"a": 1,\n\t"s": {\n\t\t"x": 1\n\t}\n}'),
        (
            '{\n    "a": 1, // note\n}',
            '{\n    "a": 1, // note\n    "s": {\n        "x": 1\n    },\n}',
        ),
        ('{\r\n  "s": {}\r\n}', '{\r\n  "s": {\r\n    "x": 1\r\n  }\r\n}'),
        ('{\n  "s": { "a": 1 }\n}', '{\n  "s": { "a": 1, "x": 1 }\n}'),
    ],
)
def test_what_is_added_looks_like_what_is_there(before: str, after: str) -> None:
    assert Text(before, is_lenient=True).set(("s", "x"), 1).text == after
