"""What `ask` refuses, in the words of its flags, and the exit codes that scripts go by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.ask.conftest import Ask, Server

from gateway_metrics_mcp.cli.ask.flags import FLAGS, QUESTIONS
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import flag_names

DAY: Final = ("--start", "2026-07-01", "--end", "2026-07-02")
COST: Final = ("distribution", *DAY, "--sum", "costInUSD")
CONTAINS: Final = (
    '- --where "team contians x": unknown operator "contians". Did you mean contains or'
    " not contains or not in? "
)
MODEL_NAME: Final = (
    '- --by modelNam: "modelNam" is not a group-by field of modelMetrics. Did you mean modelName'
    " or providerModelName? "
)
MANUAL: Final = Path(__file__).parents[3] / "docs" / "automation.md"


def sent_filters(gateway: Server) -> list[tuple[str, str, Any]]:
    """The filters of the first question, but for the one that the server adds."""
    return [
        (one.get("fieldName", one.get("metadataKey")), one["operator"], one["value"])
        for one in gateway.bodies[0]["filters"]
        if one.get("fieldName") != "virtualModelName"
    ]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_argument_of_a_tool_has_a_flag(ask: Ask, question: str) -> None:
    code, out, _ = ask(question, "--help")

    words = set(re.findall(r"--?[\w-]+|[A-Z]+", out))
    names = TOOLS[QUESTIONS[question]].arguments.names()
    flags = [flag for name in names for flag in FLAGS.get(name, (f"--{name}",))]
    if "aggregations" in names:
        flags.remove("--aggregations")
        flags += [f"--{function}" for function in AGGREGATION_TYPES]
        flags.append("--measure")
    assert code == 0
    assert [flag for flag in flags if flag not in words and flag[2:].upper() not in words] == []


def test_every_setting_is_a_flag(gateway: Server, ask: Ask) -> None:
    code, _, err = ask(*COST, "--all-row", "false", "--by", "modelName", "--log-level", "ERROR")

    assert (code, err) == (0, "")
    assert len(gateway.bodies) == 1
    assert "timezone" in flag_names()  # the one that is the question's own flag here


@pytest.mark.usefixtures("gateway")
def test_all_problems_come_at_once_and_speak_of_flags(ask: Ask) -> None:
    code, out, err = ask(
        *("distribution", "--rage", "last 7 days", "--sum", "costInUSDD", "--measure", "errorRat"),
        *("--by", "modelNam", "--where", "team contians x", "--format", "tabel", "--limit", "x"),
        *("--fail-if", "much"),
    )

    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert lines[0] == "gateway-metrics-mcp ask: 9 problems"
    shown = [re.sub(r"Allowed: .*|Measures here: .*|Give .*", "", line) for line in lines[1:]]
    assert shown == [
        "- unknown argument --rage. Did you mean --range?",
        '- --format: "tabel" is unknown. Did you mean table? ',
        CONTAINS,
        '- --fail-if "much": expected a column, a comparison and a number: sumCostInUSD > 100',
        '- --limit: expected a whole number from 1, got "x"',
        "- --range: missing. ",
        (
            '- --sum costInUSDD: "costInUSDD" is not a column of modelMetrics. Did you mean'
            " costInUSD? "
        ),
        '- --measure errorRat: "errorRat" is not a measure. Did you mean errorRate? ',
        MODEL_NAME,
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the question is missing. Allowed: distribution, timeseries, fields, values. See "),
        (["distributon"], 'unknown question "distributon". Did you mean distribution?'),
        ([*COST, "--order", "-totl"], "--order: "),
        (
            ["distribution", "--range", "today", "--start", "now-1d"],
            "--range and --start: give one",
        ),
        (["distribution", "--start", "2026-07-02", "--end", "2026-07-01"], "--end: "),
        ([*COST, "--compare", "sometime"], "--compare: "),
        ([*COST, "--sum"], "argument --sum: expected one argument"),
        ([*COST, "--fail-if", "sumCost > 1"], 'unknown value "sumCost"'),
        ([*COST, "--fail-if", "total > 5%"], "total is not in percent"),
        ([*COST, "--measure", "share", "--fail-if", "share > 5"], "Write 5%, or 0.05"),
        ([*COST, "--fail-if", "total > 5", "--format", "explain"], "asks nothing"),
        (["timeseries", *DAY, "--fail-if", "total > 5"], "For each bucket: any total > 5"),
        (["values", "modelNam", *DAY], "Did you mean modelName"),
        (["values", *DAY], "FIELD: missing"),
        (["fields", "modelMetric"], "Did you mean modelMetrics"),
        (["fields", "--format", "csv"], '--format: "csv" is unknown'),
        ([*COST, "--where", "team = a and modelName = b"], "one condition each: repeat --where"),
        ([*COST, "--where", "team in a,,b"], "a value is missing"),
        ([*COST, "--where", "modelName between 1"], "BETWEEN"),
        ([*COST, "--where", "modelName ="], "the value is missing"),
        ([*COST, "--where", "modelName"], "the operator is missing"),
    ],
)
def test_wrong_usage_is_2(gateway: Server, ask: Ask, argv: list[str], said: str) -> None:
    code, out, err = ask(*argv)

    assert (code, out) == (2, "")
    assert said in err
    assert gateway.bodies == []


@pytest.mark.usefixtures("gateway")
def test_a_word_that_may_be_a_secret_is_not_repeated(ask: Ask) -> None:
    code, _, err = ask(*COST, "--tokn-file", "hunter2", "hunter3")

    assert code == 2
    assert "--token-file" in err
    assert "hunter" not in err


@pytest.mark.parametrize(
    ("condition", "filter_"),
    [
        ("modelName = openai/gpt-4o", ("modelName", "EQUAL", "openai/gpt-4o")),
        ("modelName=a b", ("modelName", "EQUAL", "a b")),
        ("modelName != ''", ("modelName", "NOT_EQUAL", "")),
        ("modelName IN a, 'b, c' ,\"d\"", ("modelName", "IN", ["a", "b, c", "d"])),
        ("modelName not in (a, b)", ("modelName", "NOT_IN", ["a", "b"])),
        ("team in a, b", ("team", "ARRAY_HAS_ANY", ["a", "b"])),
        ("team = a", ("team", "ARRAY_HAS_ANY", ["a"])),
        ("team != a", ("team", "ARRAY_HAS_NONE", ["a"])),
        ("latencyMs >= 1.5", ("latencyMs", "GREATER_THAN_EQUAL", 1.5)),
        ("latencyMs between 5 and 9", ("latencyMs", "BETWEEN", [5, 9])),
        ("latencyMs BETWEEN 5, 9", ("latencyMs", "BETWEEN", [5, 9])),
        ("isFailure = true", ("isFailure", "EQUAL", True)),
        ("modelName contains gpt", ("modelName", "STRING_CONTAINS", "gpt")),
        ("modelName does not start with x", ("modelName", "STRING_NOT_STARTS_WITH", "x")),
        ("modelName STRING_ENDS_WITH o", ("modelName", "STRING_ENDS_WITH", "o")),
        ('"metadata.cost center" = 7', ("cost center", "EQUAL", "7")),
        (
            '{"fieldName": "modelName", "operator": "EQUAL", "value": ["a"]}',
            ("modelName", "EQUAL", "a"),
        ),
    ],
)
def test_a_condition_is_the_filter_it_reads_as(
    gateway: Server, ask: Ask, condition: str, filter_: tuple[str, str, Any]
) -> None:
    code, _, err = ask(*COST, "--where", condition)

    assert (code, err) == (0, "")
    assert sent_filters(gateway) == [filter_]


@pytest.mark.parametrize(("words", "is_null"), [("is null", True), ("is not null", False)])
def test_null_is_asked_in_words(gateway: Server, ask: Ask, words: str, *, is_null: bool) -> None:
    code, _, _ = ask(*COST, "--where", f"virtualModelName {words}")

    filters = gateway.bodies[0]["filters"]
    assert code == 0
    assert [(one["operator"], one["value"]) for one in filters] == [("IS_NULL", is_null)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    values=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\0'), max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_quoted_values_arrive_as_they_are(gateway: Server, ask: Ask, values: list[str]) -> None:
    gateway.bodies.clear()
    quoted = ", ".join(f'"{value}"' for value in values)

    code, _, err = ask(*COST, "--where", f"modelName in {quoted}")

    assert (code, err) == (0, "")
    assert sent_filters(gateway) == [("modelName", "IN", values)]


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (["sumCostInUSD > 99.75"], 0, "ALL (99.75) is within the limit, sumCostInUSD > 99.75"),
        (["sum costInUSD > 99.7"], 3, "sumCostInUSD of ALL is 99.75: sum costInUSD > 99.7 holds"),
        (["total > 50", "total >= 50"], 3, "total of ALL is 50: total >= 50 holds"),
        (["sumCostInUSD<100"], 3, "3 calls have no price: spend is a lower bound"),
        (["share > 99%"], 3, "share of ALL is 100.0%: share > 99% holds"),
        (["any sumCostInUSD > 90"], 3, "sumCostInUSD of gpt-4o is 90.50"),
        (["any total > 1"], 3, "total of gpt-4o is 40: any total > 1 holds, and in 2 more"),
        (["any total > 100"], 0, "total of every row is within the limit, any total > 100"),
        (["any sumCostInUSD > 900"], 1, "cannot be checked: sumCostInUSD of 1 row is null or n/a"),
    ],
)
@pytest.mark.usefixtures("gateway")
def test_a_limit_that_is_passed_is_3(ask: Ask, limits: list[str], code: int, said: str) -> None:
    flags = [word for limit in limits for word in ("--fail-if", limit)]

    found, out, err = ask(*COST, "--measure", "share", "--by", "modelName", *flags)

    assert found == code
    assert said in err
    assert out.endswith("ALL|50|99.75|100.0%\n")


def test_a_comparison_has_limits_in_percent(gateway: Server, ask: Ask) -> None:
    code, _, err = ask(*COST, "--compare", "previous", "--fail-if", "sumCostInUSD_change% > 20%")

    assert code == 0
    assert "sumCostInUSD_change% of ALL (0%) is within the limit" in err
    assert len(gateway.bodies) >= 2


def test_what_is_not_known_never_passes(gateway: Server, ask: Ask) -> None:
    gateway.all = {"total": 5, "sumCostInUSD": None, "countCostInUSD": 0}

    code, _, err = ask(*COST, "--fail-if", "sumCostInUSD > 100")

    assert code == 1
    assert "cannot be checked: sumCostInUSD of ALL is null or n/a" in err


def test_no_rows_are_4_if_that_is_asked_and_never_within_a_limit(gateway: Server, ask: Ask) -> None:
    gateway.rows, gateway.all = [], {"total": 0, "sumCostInUSD": None, "countCostInUSD": 0}

    assert ask(*COST)[0] == 0
    assert ask(*COST, "--fail-if-empty")[0] == 4
    assert ask("values", "modelName", *DAY, "--fail-if-empty")[0] == 4
    code, _, err = ask(*COST, "--fail-if", "sumCostInUSD > 100")
    assert (code, err.splitlines()[-1].rpartition(": ")[2]) == (1, "no rows")


def test_a_failure_is_1_without_an_address_or_a_token(
    gateway: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.status = 401
    code, out, err = ask(*COST)
    assert (code, out) == (1, "")
    assert err.startswith("gateway-metrics-mcp ask: ")
    assert str(gateway.port) not in err

    monkeypatch.delenv("GATEWAY_METRICS_BACKEND")
    code, out, err = ask(*COST)
    assert (code, out) == (1, "")
    assert "no backend is set" in err

    code, _, err = ask(*COST, "--backend", "https://me:hunter2@example.com")
    assert code == 1
    assert "hunter2" not in err


def test_hidden_addresses_stay_hidden_in_rows_limits_and_filters(
    gateway: Server, ask: Ask, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    gateway.rows = [
        {"createdBySubjectSlug": name, "userEmail": name, "total": n}
        for n, name in enumerate(("ada@example.com", "bob@example.com"), 1)
    ]
    hiding = ("--hide-emails", "--hide-emails-key", str(key), "--by", "userEmail")

    for format_ in ("table", "csv", "json", "markdown"):
        code, out, err = ask(
            *("distribution", *DAY, *hiding, "--format", format_, "--fail-if", "any total > 1"),
            *("--where", "userEmail = bob@example.com"),
        )

        assert code == 3
        assert "@example" not in out + err
        assert "user-" in out
    assert sent_filters(gateway)[0][2] == "bob@example.com"


def test_the_manual_names_every_exit_code_and_format(ask: Ask) -> None:
    text = MANUAL.read_text("utf-8")
    _, out, _ = ask("distribution", "--help")

    assert re.findall(r"^\| (\d) \|", text, re.MULTILINE) == ["0", "1", "2", "3", "4"]
    formats = re.search(r"one of ([a-z,\s]+)\(default", out)
    assert formats is not None
    listed = [name.strip() for name in formats[1].split(",")]
    for name in listed:
        assert f"| `{name}` |" in text
