"""What the command refuses before it reads a row, and the way out that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Write = Callable[..., Path]
TEXT = "timestamp,tokens,model\n2026-07-10T00:00Z,5,m\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--map", "CreatedAt=timestamp,InputToken=tokens"],
            "--map: the table has no column InputToken. Did you mean InputTokens",
        ),
        (
            ["--map", "CreatedAt=timestmp"],
            "no column timestmp for CreatedAt. Did you mean timestamp? Allowed: timestamp, tokens",
        ),
        (
            ["--set", "ModelNam=x"],
            "--set: the table has no column ModelNam. Did you mean ModelName",
        ),
        (["--map", "InputTokens"], '--map "InputTokens": expected COLUMN=SOURCE'),
        (["--set", "ModelName="], '--set "ModelName=": expected COLUMN=VALUE'),
        (["--map", "ModelName=model", "--set", "ModelName=x"], "--set: ModelName is given twice"),
        (
            ["--map", "CreatedAt=timestamp", "--set", "InputTokens=many"],
            '--set: InputTokens cannot be "many": not a whole number',
        ),
        (
            ["--map", "InputTokens=tokens"],
            "the file has timestamp, tokens, model. Did you mean --map CreatedAt=timestamp?",
        ),
        (["--timezone", "CET"], '--timezone: "CET" is an abbreviation'),
        (["--preset", "litellm"], "has no column startTime, so it is not a file of LiteLLM's"),
        (["--preset", "otel-genai"], "--preset otel-genai reads jsonl"),
        (
            ["--preset", "litellm", "--table", "gateway_mcp_metrics"],
            "--preset litellm fills the table gateway_model_metrics alone",
        ),
        (["--memory", "much"], "--memory or --threads: "),
        (["--threads", "0"], "--memory or --threads: "),
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["nowhere/*.csv"], "there is no file nowhere/*.csv"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused(
    data: Data, csv: Write, arguments: list[str], message: str
) -> None:
    done = data.bring(csv(TEXT), *arguments)

    assert done.code == 1
    assert done.err.startswith("gateway-metrics-mcp import: ")
    assert message in done.err
    assert data.files() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--presets", "litellm"], "unknown argument --presets. Did you mean --preset"),
        (["--time-zone=UTC"], "unknown argument --time-zone. Did you mean --timezone?"),
        (["--preset", "lightllm"], "invalid choice: 'lightllm'"),
        (["--table", "models"], "invalid choice: 'models'"),
    ],
)
def test_wrong_usage_ends_with_2(
    data: Data, csv: Write, arguments: list[str], message: str
) -> None:
    done = data.bring(csv(TEXT), *arguments)

    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calls.txt", b"CreatedAt\n", "its name does not show the format. Give --format"),
        ("calls.csv", b"", "has no header"),
        ("calls.csv", b"a,a\n1,2\n", 'has two columns "a"'),
        ("calls.csv", b"\xff\xfe\x00", "is not UTF-8 text"),
        ("calls.parquet", b"PAR1 but no more", "calls.parquet"),
        ("calls.jsonl", b"\x00\x01", "no column says when a row was made"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    data: Data, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)

    done = data.bring(tmp_path / name)

    assert done.code == 1
    assert message in done.err
    assert data.files() == {}


def test_a_folder_is_no_file(data: Data, tmp_path: Path) -> None:
    assert "is not a file; name files, or a pattern such as" in data.bring(tmp_path).err


def test_the_format_can_be_told(data: Data, csv: Write) -> None:
    path = csv("CreatedAt\n2026-07-10T00:00Z\n", "calls.log")

    assert data.bring(path, "--format", "csv").code == 0


@pytest.mark.parametrize("taken", [".", "gateway_model_metrics", ".importing"])
def test_what_is_in_the_way_of_the_data_is_not_overwritten(
    data: Data, csv: Write, taken: str
) -> None:
    path = data.path / taken
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")

    done = data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n"))

    assert done.code == 1
    assert path.read_text() == "mine"


def test_a_directory_that_the_engine_would_read_as_a_pattern_is_refused(
    data: Data, csv: Write
) -> None:
    done = data.run([str(csv("CreatedAt\n2026-07-10T00:00Z\n")), "--into", f"{data.path}[1]"])

    assert "which the engine would read as a pattern" in done.err


def test_other_files_of_the_directory_stay_as_they_are(data: Data, csv: Write) -> None:
    others = ["notes.txt", "gateway_model_metrics/export.parquet", ".importing/mine/x"]
    for name in others:
        (data.path / name).parent.mkdir(parents=True, exist_ok=True)
        (data.path / name).write_bytes(b"mine")
    before = data.files()

    data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n"))

    assert {name: data.files()[name] for name in before} == before
