"""Compares the tokens of answers with those of the API's compact JSON, in o200k_base.

Usage: `python benchmarks/tokens.py`. It needs node and npm, and installs the tokenizer beside
itself. Exits with 1 if an answer takes more than its reference, if its estimate is off by more than
a tenth, or if hostile rows exceed their budget by more than a quarter.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result, read_result, value_names_of
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, DatasourceName
from gateway_metrics_mcp.rendering.document import estimate_tokens
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings
from hostile import SHAPES, WEEK, hostile_keys, hostile_question

HERE: Final = Path(__file__).parent
TOKENIZER: Final = "gpt-tokenizer@4.0.0"
COUNT: Final = """
const { countTokens } = require('gpt-tokenizer/encoding/o200k_base');
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(texts.map((text) => countTokens(text))));
"""
NOW: Final = datetime(2025, 11, 20, 9, 30, tzinfo=UTC)
LARGEST: Final = 12_000

SMALL: Final = 1500
MOST_OVER: Final = 1.25
MOST_ERROR: Final = 0.1
MOST_FIELDS: Final = 700


@dataclass(frozen=True)
class Case:
    """A question to one sample; `reference` is the most tokens, as a share of the JSON's."""

    name: str
    sample: str
    reference: float
    arguments: dict[str, Any]
    budget: int = LARGEST


BY_FOUR: Final = {
    **WEEK,
    "groupBy": ["userEmail", "team", "modelName", "metadata.environment"],
    "aggregations": ["sum inputTokens", "sum costInUSD"],
}
CASES: Final = (
    Case(
        "a: 10 rows x 6 columns",
        "a",
        0.70,
        {
            **WEEK,
            "groupBy": ["modelName"],
            "aggregations": [
                "count modelName",
                "sum inputTokens",
                "p99 latencyMs",
                "sum costInUSD",
            ],
        },
    ),
    Case("b: 200 rows x 4 keys", "b", 0.56, BY_FOUR),
    Case("b within 1,500 tokens", "b", 0.13, BY_FOUR, SMALL),
    Case(
        "c: 168 hours",
        "c",
        0.17,
        {**WEEK, "interval": "1 hour", "aggregations": ["count modelName"]},
    ),
    Case(
        "d: 24 hours x 8 models x 3 values",
        "d",
        0.18,
        {
            "startTs": "2025-11-03",
            "endTs": "2025-11-04",
            "interval": "1 hour",
            "groupBy": ["modelName"],
            "aggregations": ["count modelName", "sum costInUSD", "p99 latencyMs"],
        },
    ),
    Case(
        "f: 30 days x 50 models x 3 values",
        "f",
        0.05,
        {
            "startTs": "2025-10-11",
            "endTs": "2025-11-10",
            "interval": "1 day",
            "groupBy": ["modelName"],
            "aggregations": ["count modelName", "sum inputTokens", "sum costInUSD"],
        },
    ),
)


class Sample:
    """A backend that answers with one sample. ALL, which it lacks, is the rows' sum or maximum."""

    description = "a sample"
    is_by_rulings = False

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    async def query(self, query: Query, caller: Caller) -> Result:  # noqa: ARG002, D102 - the protocol's
        rows = [{**_count_all(row, query), **row} for row in self._body["data"]["dataPoints"]]
        if query.interval is None and query.group_by and "startTimestamp" in (rows or [{}])[0]:
            # The query that counts the groups before a timeseries.
            groups = {tuple(row[key] for key in query.group_by): row for row in rows}
            rows = list(groups.values())
        body: dict[str, Any] = {"data": {"dataPoints": rows}}
        is_spread = query.interval is not None and "startTimestamp" not in (rows or [{}])[0]
        if rows and not query.group_by and (query.interval is None or is_spread):
            total = {name: _add_up(name, rows) for name in value_names_of(query)}
            start = {"startTimestamp": query.start_ts.isoformat()} if is_spread else {}
            body = {"data": {"dataPoints": [{**total, **start}]}}
        return read_result(body, query, load_catalog().datasources[query.datasource])

    def explain(self, query: Query, caller: Caller) -> str:  # noqa: D102 - the protocol's
        raise NotImplementedError

    async def metadata_keys(  # noqa: D102 - the protocol's
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


def _count_all(row: dict[str, Any], query: Query) -> dict[str, Any]:
    """Counts that the answer also queries and the sample lacks: as many as rows."""
    return {a.key: row["total"] for a in query.aggregations}


def _add_up(name: str, rows: Sequence[dict[str, Any]]) -> float:
    values: list[float] = [row[name] for row in rows if row[name] is not None]
    return sum(values) if name.startswith(("total", "count", "sum")) else max(values)


def read_sample(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        gzip.decompress((HERE / f"samples/{name}.json.gz").read_bytes())
    )
    return body


async def ask(body: dict[str, Any], tool: str, arguments: dict[str, Any], budget: int) -> str:
    """The text of a tool's answer, as an MCP client gets it."""
    server = build_server(Settings(budget=budget), backend=Sample(body), clock=lambda: NOW)
    async with Client(server) as client:
        result = await client.call_tool(tool, arguments)
    (block,) = result.content
    if result.is_error or not isinstance(block, TextContent):
        raise SystemExit(f"{tool} failed: {block}")
    return block.text


def tool_of(arguments: dict[str, Any]) -> str:
    return "query_timeseries" if "interval" in arguments else "query_distribution"


def count_tokens(texts: Sequence[str]) -> list[int]:
    """The true number of tokens of each text; installs the tokenizer if it is missing."""
    if not (HERE / "node_modules/gpt-tokenizer").is_dir():
        command = ["npm", "install", "--silent", "--no-save", "--no-package-lock"]
        command += ["--ignore-scripts", "--prefix", str(HERE), TOKENIZER]
        subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 - our own words
    done = subprocess.run(  # noqa: S603 - our own words
        ["node", "-e", COUNT],  # noqa: S607 - node is where the user has it
        input=json.dumps(texts),
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    counts: list[int] = json.loads(done.stdout)
    return counts


async def gather() -> tuple[list[str], list[str], dict[str, str], dict[str, str]]:
    """All answers, the samples' JSON, the hostile answers, and the lists of fields."""
    answers, sources = [], []
    for case in CASES:
        body = read_sample(case.sample)
        answers.append(await ask(body, tool_of(case.arguments), case.arguments, case.budget))
        sources.append(json.dumps(body, separators=(",", ":"), ensure_ascii=False))
    hostile = {}
    for kind, keys in hostile_keys().items():
        for shape in SHAPES:
            body, arguments = hostile_question(f"{kind}, {shape}", keys)
            text = await ask(body, tool_of(arguments), arguments, SMALL)
            hostile[f"{kind}, {shape}"] = text
    fields = {
        str(name): await ask({}, "list_fields", {"datasource": name}, LARGEST)
        for name in DATASOURCES
    }
    return answers, sources, hostile, fields


def compare(answers: Sequence[str], counts: Sequence[int]) -> bool:
    """Print the answers against their references; whether all are within them."""
    print(f"{'sample':34} {'JSON':>7} {'answer':>7} {'ratio':>6} {'most':>5} {'estimate':>8} bytes")
    good = True
    for i, case in enumerate(CASES):
        answer, source = counts[i], counts[len(answers) + i]
        ratio, error = answer / source, estimate_tokens(answers[i]) / answer - 1
        good &= ratio <= case.reference and abs(error) <= MOST_ERROR
        print(
            f"{case.name:34} {source:7} {answer:7} {ratio:6.3f} {case.reference:5.2f}"
            f" {error:+8.1%} {len(answers[i].encode())}"
        )
    return good


def main() -> int:
    answers, sources, hostile, fields = anyio.run(gather)
    counts = count_tokens([*answers, *sources, *hostile.values(), *fields.values()])
    good = compare(answers, counts)
    rest = counts[len(answers) + len(sources) :]
    over = {kind: count / SMALL for kind, count in zip(hostile, rest, strict=False)}
    worst = max(over, key=over.__getitem__)
    print(f"\nhostile rows, {len(over)} kinds, within a budget of {SMALL}: at most", end=" ")
    print(f"{over[worst]:.2f} of it ({worst}), {MOST_OVER} allowed; the largest:")
    for kind in sorted(over, key=over.__getitem__, reverse=True)[:6]:
        error = estimate_tokens(hostile[kind]) / (over[kind] * SMALL) - 1
        print(f"  {kind:40} {over[kind]:5.2f} of the budget, estimate {error:+.1%}")
    listed = dict(zip(fields, rest[len(hostile) :], strict=True))
    largest = max(listed, key=listed.__getitem__)
    print(f"\nlist_fields: at most {listed[largest]} tokens ({largest}), {MOST_FIELDS} allowed")
    print("ALL rows here are the sum or the largest of the rows: the samples hold no others")
    good &= over[worst] <= MOST_OVER and listed[largest] <= MOST_FIELDS
    print("good" if good else "NOT GOOD: see above")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
