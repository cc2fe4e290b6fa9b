"""docs/api.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.auth.tokens import read_tokens
from gateway_metrics_mcp.backends.clickhouse.backend import CONCURRENCY
from gateway_metrics_mcp.cli.token import main as token_command
from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.http.openapi import describe_api
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.validation import MOST_BYTES, MOST_ENTRIES, MOST_VALUES
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.settings import Settings

TEXT: Final = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_its_tokens_file_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    file = tmp_path / "tokens.toml"
    file.write_text(text, "utf-8")
    (entry,) = read_tokens(file).tokens

    assert set(entry.model_fields_set) == set(type(entry).model_fields)


def test_its_commands_make_tokens() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if " token " in line]

    assert len(lines) == 2
    for line in lines:
        assert token_command(line.split()[2:]) == 0


def test_its_error_has_the_shape_and_a_code_of_ours() -> None:
    error = json.loads(blocks("json")[0])

    assert list(error) == ["statusCode", "message", "code", "details"]
    assert error["code"] == InvalidQueryError([Problem("a", "b")]).code


def test_its_statuses_are_those_of_the_description(catalog: Catalog) -> None:
    operation = describe_api(catalog, has_tokens=True)["paths"][PATH]["post"]
    rows = re.findall(r"^\| ([0-9, ]+) \|", TEXT, re.MULTILINE)
    documented = {status.strip() for row in rows for status in row.split(",")}

    assert documented - {"404", "405"} == set(operation["responses"]) - {"200"}


def test_its_limits_and_defaults_are_those_of_the_code() -> None:
    settings = Settings()

    assert f"the body is larger than {MOST_BYTES // 1024} KiB" in TEXT
    assert f"| {MOST_ENTRIES} each |" in TEXT
    assert f"| values of a filter | {MOST_VALUES:,} |" in TEXT
    assert f"`--row-cap`, {settings.row_cap:,} |" in TEXT
    assert f"`--timeout`, {settings.timeout:g} s |" in TEXT
    assert f"`--queries`, {settings.queries}; " in TEXT
    assert f"`--patience`, {settings.patience:g} s, " in TEXT
    assert f"DuckDB `--threads`, {settings.threads}; ClickHouse {CONCURRENCY}; " in TEXT
    assert f"`POST {PATH}`" in TEXT
