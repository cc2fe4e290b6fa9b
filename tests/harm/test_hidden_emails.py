"""Hidden addresses: a hash stands for each, everywhere, and works where the address would."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.server.masking import EmailMask, read_hiding_key
from gateway_metrics_mcp.settings import Settings

BOTH: Final = {"startTs": "2026-07-01", "endTs": "2026-07-15"}
WEEK: Final = {"startTs": "2026-07-08", "endTs": "2026-07-15"}
HASH: Final = re.compile(r"user-[0-9a-f]{10}(?![A-Za-z0-9])")
ADDRESSES: Final = (
    "ada.lovelace@example.com",
    "Ada.Lovelace@example.com",
    "bob+tag@sub.example.co.uk",
    "o'brien@example.org",
    "zo\u00eb@ex\u00e4mple.de",
    "root@xn--exmple-cua.com",
    "zero\u200bwidth@example.com",
    "wide\uff20example.com",
    "coded%40example.com",
    "x_y-z@1.2.example.museum",
)
TEXTS: Final = (
    *ADDRESSES,
    "mailto:carol@example.com?subject=x",
    "Dave <dave@example.com>, Erin <erin@example.com>",
    OWNED := '{"owner": "frank@example.com"}',
    "job-of-grace@example.com|ALL",
    "line\nheidi@example.com\n# ivan@example.com",
    "\\njudy@example.com",
    "\\u0041kim@example.com",
    "x" * 70 + " leo@example.com",
    "mallory@example.com" * 8,
    "gpt-4o",
    "claude-3-5-sonnet@20240620",
    "gemini@default",
)
OWNERS: Final = (
    *("lovelace", "bob+tag", "brien", "zo\u00eb", "root@", "width", "wide\uff20", "coded%40"),
    *("x_y-z", "carol", "dave@", "erin@", "frank", "grace", "heidi", "ivan", "judy", "kim@"),
    *("leo@", "mallory", "example"),
)
"""What is left of an address if it is not wholly hidden."""

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "hidden.key"
    file.write_text("0123456789abcdef0123456789abcdef\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory, plant: Callable[..., None]) -> Path:
    """A data directory with addresses in every column, team, key and value of metadata."""
    directory = tmp_path_factory.mktemp("mail")
    plant(directory, TEXTS)
    return directory


@pytest.fixture(scope="module")
async def call(mail: Path, key: Path, serve: Callable[..., Any]) -> AsyncIterator[Call]:
    async with serve(mail, hide_emails=True, hide_emails_key=key, budget=12_000) as call:
        yield call


@pytest.fixture(scope="module")
async def open_call(mail: Path, serve: Callable[..., Any]) -> AsyncIterator[Call]:
    """The same without hiding: what is there to be hidden."""
    async with serve(mail, budget=12_000) as call:
        yield call


def left_in(text: str) -> list[str]:
    return [owner for owner in OWNERS if owner in text.lower()]


def hash_of(address: str, key: Path) -> str:
    return EmailMask(key.read_bytes().strip()).hide(address)


@pytest.mark.parametrize("format_", ["table", "exact", "json", "explain"])
@pytest.mark.parametrize("tool", ["query_distribution", "query_timeseries"])
async def test_no_address_is_in_an_answer(
    call: Call, open_call: Call, tool: str, format_: str
) -> None:
    is_comparable = tool == "query_distribution"
    for field in ("modelName", "userEmail", "virtualaccount", "team", "metadata.env"):
        question = {"groupBy": [field], "format": format_, "limit": 40, **WEEK}
        for compared in ({}, {"compareTo": "previous"}) if is_comparable else ({},):
            text, is_error = await call(tool, question | compared)
            plain, _ = await open_call(tool, question | compared)

            assert not is_error, text
            assert left_in(text) == []
            assert format_ == "explain" or HASH.search(text)
            assert format_ == "explain" or len(left_in(plain)) > 2


@pytest.mark.parametrize("datasource", DATASOURCES)
@pytest.mark.parametrize(
    "field", ["userEmail", "virtualaccount", "team", "metadata.env", "metadata"]
)
async def test_no_address_is_in_a_list(
    call: Call, open_call: Call, datasource: str, field: str
) -> None:
    question = {"datasource": datasource, "field": field, **BOTH}
    text, is_error = await call("list_values", question)
    plain, _ = await open_call("list_values", question)

    assert not is_error, text
    assert left_in(text) == []
    assert len(left_in(plain)) > 2
    # Each row is still a row of its own.
    assert text.split("\n")[0].split("|")[-1] == plain.split("\n")[0].split("|")[-1]


async def test_models_with_a_version_are_no_addresses(call: Call) -> None:
    text, _ = await call("list_values", {"field": "modelName", **BOTH})

    assert "\nclaude-3-5-sonnet@20240620|" in text
    assert "\ngemini@default|" in text


async def test_a_search_finds_nothing_by_an_address_that_is_hidden(call: Call) -> None:
    text, is_error = await call("list_values", {"field": "team", "search": "lovelace", **BOTH})

    assert not is_error
    assert text.split("\n")[0].endswith('search "lovelace": 0 of 23 match | no rows')


@pytest.mark.parametrize("field", ["subject", "team", "metadata.env"])
@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_filter_finds_by_the_address_and_by_its_hash(
    call: Call, open_call: Call, key: Path, field: str, address: str
) -> None:
    if field == "subject":  # as the planted rows have it
        field = "virtualAccount" if ADDRESSES.index(address) % 5 == 2 else "userEmail"
    operator = "ARRAY_HAS_ANY" if field == "team" else "IN"
    counts = []
    asked = ((open_call, address), (call, address), (call, hash_of(address, key)))
    for ask, value in asked:
        filters = [{"fieldName": field, "operator": operator, "value": [value, "nobody"]}]
        text, is_error = await ask(
            "query_distribution", {"filters": filters, "format": "json", **BOTH}
        )
        assert not is_error, text
        body = json.loads(text)
        counts.append(body["rows"])
        if ask is call:
            assert left_in(text) == []
            assert hash_of(address, key) in str(body["request"])
            # What the hash stands for has rows; "nobody" has none.
            wrong = [note for note in body["notes"] if HASH.search(note) and "no rows" in note]
            assert wrong == []

    assert counts[0] != [[0]]
    assert counts == [counts[0]] * 3


PARTIAL: Final = (
    *("STRING_CONTAINS", "STRING_NOT_CONTAINS", "STRING_STARTS_WITH", "STRING_NOT_STARTS_WITH"),
    *("STRING_ENDS_WITH", "STRING_NOT_ENDS_WITH", "GREATER_THAN", "LESS_THAN"),
    *("GREATER_THAN_EQUAL", "LESS_THAN_EQUAL"),
)


@pytest.mark.parametrize("field", ["userEmail", "virtualAccount", "metadata.env"])
@pytest.mark.parametrize("operator", PARTIAL)
async def test_a_filter_on_a_part_of_what_is_hidden_is_refused(
    call: Call, open_call: Call, field: str, operator: str
) -> None:
    """Else whoever may ask could spell an address letter by letter."""
    value: Any = "ada" if operator.endswith(("THAN", "EQUAL")) else ["ada"]
    first = {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["growth"]}
    partial = {"fieldName": field, "operator": operator, "value": value}
    question = {"filters": [first, partial], **BOTH}
    plain, is_refused = await open_call("query_distribution", question)
    if is_refused:
        assert f"filters[1].operator: {operator}" in plain  # no backend takes it
        return
    for format_ in ("table", "explain"):
        text, is_error = await call("query_distribution", {**question, "format": format_})

        assert is_error
        assert f"- filters[1].operator: {operator} would compare parts of e-mail" in text
        assert f"Allowed for {field} here: EQUAL, NOT_EQUAL, IN, NOT_IN, with a whole value" in text


async def test_parts_of_other_fields_can_be_compared(call: Call, open_call: Call) -> None:
    one = {"fieldName": "modelName", "operator": "STRING_CONTAINS", "value": ["gpt"]}
    question = {"filters": [one], "format": "json", **BOTH}
    plain, _ = await open_call("query_distribution", question)
    text, is_error = await call("query_distribution", question)

    assert not is_error
    assert json.loads(text)["rows"] == json.loads(plain)["rows"] != [[0]]


async def test_a_hash_that_nobody_has_matches_nothing(call: Call) -> None:
    filters = [{"fieldName": "userEmail", "operator": "EQUAL", "value": ["user-0123456789"]}]
    text, is_error = await call("query_distribution", {"filters": filters, **BOTH})

    assert not is_error
    assert "\nno rows in " in text
    assert left_in(text) == []


async def test_a_key_of_the_metadata_that_is_an_address_can_be_asked_for(
    call: Call, key: Path
) -> None:
    field = "metadata.ada.lovelace@example.com"
    text, is_error = await call("query_distribution", {"groupBy": [field], **BOTH})

    assert not is_error
    assert left_in(text) == []
    assert f"metadata.{hash_of('ada.lovelace@example.com', key)}" in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"groupBy": ["ada.lovelace@example.com"], **BOTH},
        {"aggregations": ["sum bob+tag@sub.example.co.uk"], **BOTH},
        {
            "filters": [{"fieldName": "carol@example.com", "operator": "EQUAL", "value": "x"}],
            **BOTH,
        },
        {"filters": [{"fieldName": "total", "operator": "EQUAL", "value": "frank@example.com"}]},
        {"filters": '[{"fieldName": "grace@example.com", "operator": "IN", "value": []}]', **BOTH},
        {"filters": "heidi@example.com", **BOTH},
        {"ivan@example.com": 1, **BOTH},
        {"startTs": "judy@example.com"},
        {"timezone": "kim@example.com", **BOTH},
        {"orderBy": "leo@example.com", **BOTH},
        {"format": "mallory@example.com", **BOTH},
        {"limit": "dave@example.com", **BOTH},
    ],
)
async def test_no_address_is_in_a_refusal(call: Call, arguments: dict[str, Any]) -> None:
    text, is_error = await call("query_distribution", arguments)

    assert is_error
    assert left_in(text) == []
    assert HASH.search(text) or "startTs: missing" in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"groupBy": r'["zoe\u0040corp.example"]'},
        {"groupBy": r'["zoe@corp\u002eexample"]'},
        {"groupBy": r'["\u007aoe@corp.example"]'},
        {"groupBy": '["' + "x" * 70 + r' zoe\u0040corp.example"]'},
        {"aggregations": r'["sum zoe\u0040corp.example"]'},
        {"aggregations": r'[{"type": "zoe\u0040corp.example", "column": "costInUSD"}]'},
        {"filters": r'[{"zoe\u0040corp.example": 1}]'},
        {"filters": r'[{"fieldName": "zoe\u0040corp.example", "operator": "IN", "value": []}]'},
        {"filters": r'{"fieldName": "team", "operator": "zoe\u0040corp.example", "value": []}'},
        {"filters": [r'{"fieldName": "zoe\u0040corp.example", "operator": "IN", "value": []}']},
        {"orderBy": r'["zoe\u0040corp.example"]'},
        {"compareTo": r'["zoe\u0040corp.example"]'},
        {"limit": r'["zoe\u0040corp.example"]'},
    ],
    ids=str,
)
async def test_no_address_in_escaped_json_is_in_a_refusal(
    call: Call, arguments: dict[str, Any]
) -> None:
    text, is_error = await call("query_distribution", {**arguments, **BOTH})

    assert is_error
    assert text.startswith("Invalid arguments")
    assert re.search(r"zoe(@|\\u0040|user-)|@corp|user-\w+corp", text) is None
    assert HASH.search(text) or "x" * 70 in text


async def test_a_filter_finds_by_an_address_in_escaped_json(
    call: Call, open_call: Call, key: Path
) -> None:
    value = r'["bob+tag\u0040sub.example.co.uk"]'
    filters = f'[{{"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": {value}}}]'
    question = {"filters": filters, "format": "json", **BOTH}
    plain, _ = await open_call("query_distribution", question)
    text, is_error = await call("query_distribution", question)

    assert not is_error, text
    assert json.loads(text)["rows"] == json.loads(plain)["rows"] != [[0]]
    assert hash_of(ADDRESSES[2], key) in text
    assert left_in(text) == []


async def test_json_that_is_a_value_is_found_as_it_is_written(call: Call, open_call: Call) -> None:
    one = {"fieldName": "metadata.env", "operator": "IN", "value": [OWNED]}
    question = {"filters": [one], "format": "json", **BOTH}
    plain, _ = await open_call("query_distribution", question)
    text, _ = await call("query_distribution", question)

    assert json.loads(text)["rows"] == json.loads(plain)["rows"] != [[0]]


async def test_other_dots_of_a_host_are_dots(
    tmp_path: Path, key: Path, plant: Callable[..., None], serve: Callable[..., Any]
) -> None:
    forms = ("ada%40mail.example%2Ecom", "ada@example\uff0ecom", "ada@x\u3002example\uff61com")
    longer = ("from ada@example.com\u3002\u8c22\u8c22", "ada@example\uff0ecom/x")
    plant(tmp_path, [*forms, *longer])
    async with serve(tmp_path, hide_emails=True, hide_emails_key=key) as call:
        for field in ("modelName", "team", "metadata.env"):
            text, _ = await call("query_distribution", {"groupBy": [field], **BOTH})
            assert re.findall(r"\bada|example|%2E|[\uff0e\uff61]", text) == []
            assert {f for f in forms if hash_of(f, key) in text} == set(forms)
            assert f"from {hash_of('ada@example.com', key)}\u3002\u8c22\u8c22" in text


async def test_an_address_in_the_name_of_a_tool_is_hidden(call: Call, key: Path) -> None:
    for address in ADDRESSES:
        text, is_error = await call(f"count of {address}", {})

        assert is_error
        assert text.startswith(f'Error (unknown_tool): no tool "count of {hash_of(address, key)}"')
        assert left_in(text) == []


async def test_a_value_near_a_wrong_one_is_hidden_as_well(call: Call) -> None:
    filters = [{"fieldName": "modelName", "operator": "IN", "value": ["lovelace", "gpt-4o"]}]
    text, _ = await call(
        "query_distribution", {"filters": filters, "groupBy": ["modelName"], **BOTH}
    )

    assert 'modelName "lovelace" has no rows' in text
    assert [o for o in left_in(text) if o != "lovelace"] == []
    assert text.count("lovelace") == 2


async def test_one_note_says_what_the_hashes_are(call: Call) -> None:
    text, _ = await call(
        "query_distribution", {"groupBy": ["team"], "compareTo": "previous", **WEEK}
    )

    assert text.count("# e-mail addresses are masked: user-… stands for one") == 1


PARTS: Final = st.text("abcXYZ019._+-", min_size=1, max_size=12).filter(lambda t: t.strip("._+-"))
AROUND: Final = st.text(
    st.sampled_from(' \t\n|"\\<>(){}[],;:/=&?#\u200b\u202e') | st.characters(), max_size=6
)


@given(local=PARTS, host=PARTS, before=AROUND, after=AROUND)
@example(local="0", host="0", before="\\", after="")
@example(local="u0041", host="0", before="\\", after="")
def test_any_address_in_any_text_is_hidden(local: str, host: str, before: str, after: str) -> None:
    address = f"{local}@{host}.example"
    hidden = EmailMask(b"k" * 16).hide(f"{before}{address}{after}")

    assert address not in hidden
    assert HASH.search(hidden)


@given(
    names=st.lists(PARTS, min_size=1, max_size=6, unique=True),
    before=AROUND.filter(lambda t: not re.search("[\0\ud800-\udfff]", t)),  # no table has these
)
@settings(suppress_health_check=[*HealthCheck])
def test_no_planted_address_is_in_any_output(
    tmp_path_factory: pytest.TempPathFactory,
    plant: Callable[[Path, Sequence[str]], None],
    serve: Callable[..., Any],
    key: Path,
    names: list[str],
    before: str,
) -> None:
    directory = tmp_path_factory.mktemp("planted")
    addresses = [f"{name}@host.example" for name in names]
    plant(directory, [f"{before}{address}" for address in addresses])
    set_up = {"hide_emails": True, "hide_emails_key": key}
    filters = [{"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": addresses}]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("query_distribution", {"groupBy": ["team", "userEmail"], "filters": filters, **BOTH}),
        ("query_distribution", {"groupBy": ["modelName"], "compareTo": "previous", **WEEK}),
        ("query_distribution", {"groupBy": ["metadata.env"], "format": "json", **BOTH}),
        ("query_timeseries", {"groupBy": ["virtualaccount"], **BOTH}),
        ("list_values", {"field": "metadata", **BOTH}),
        ("list_values", {"field": addresses[0], **BOTH}),
    ]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(directory, **set_up)) as call,
    ):
        for tool, arguments in asked:
            text, _ = portal.call(call, tool, arguments)
            assert [a for a in addresses if a in text] == []
            assert "@host" not in text


# --- the key of the hashes ---


def test_without_the_setting_there_is_no_key() -> None:
    assert read_hiding_key(Settings()) is None


def test_the_operators_key_is_taken(key: Path) -> None:
    read = Settings(hide_emails=True, hide_emails_key=key)

    assert read_hiding_key(read) == b"0123456789abcdef0123456789abcdef"


def test_a_key_is_made_once_for_the_user_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = read_hiding_key(Settings(hide_emails=True), state=state)

    assert made is not None
    assert len(made) == 64
    assert read_hiding_key(Settings(hide_emails=True), state=state) == made
    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_key_makes_other_hashes() -> None:
    address = "ada@example.com"

    assert EmailMask(b"a" * 16).hide(address) != EmailMask(b"b" * 16).hide(address)
    assert EmailMask(b"a" * 16).hide(address) == EmailMask(b"a" * 16).hide(address)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read or made"), ("short", "has fewer than 16 bytes")],
)
def test_a_key_that_cannot_be_used_is_said(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content, "utf-8")

    with pytest.raises(SettingsError, match=said):
        read_hiding_key(Settings(hide_emails=True, hide_emails_key=file))


def test_a_key_that_hides_nothing_is_refused(key: Path) -> None:
    with pytest.raises(SettingsError, match="--hide-emails true"):
        read_hiding_key(Settings(hide_emails_key=key))


def test_the_key_is_in_no_repr() -> None:
    mask = EmailMask(b"hunter2-hunter2-hunter2")
    mask.hide("ada@example.com")

    assert repr(mask) == "EmailMask()"
