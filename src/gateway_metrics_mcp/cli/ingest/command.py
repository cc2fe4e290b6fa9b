"""The command `import`: its flags, and one run from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.backends.sql.tables import published_tables
from gateway_metrics_mcp.cli.ingest.mapping import preset_names
from gateway_metrics_mcp.cli.ingest.run import ImportOptions, run_import
from gateway_metrics_mcp.cli.parsers import Parser
from gateway_metrics_mcp.errors import GatewayMetricsError

PROGRAM: Final = "gateway-metrics-mcp import"
_INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Run the command; 0 is success, 1 a failure that was explained, 2 wrong usage."""
    order = _parse(argv)
    try:
        for line in run_import(order).lines():
            print(line)  # noqa: T201 - the command's output
    except GatewayMetricsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201 - likewise
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted, nothing was imported", file=sys.stderr)  # noqa: T201 - likewise
        return _INTERRUPTED
    return 0


def _parse(argv: Sequence[str]) -> ImportOptions:
    values = vars(_build_parser().parse(argv))
    return ImportOptions(**{**values, "files": tuple(values["files"])})


def _build_parser() -> Parser:
    parser = Parser(
        PROGRAM,
        usage="%(prog)s FILE ... --into DIR [flags]",
        description="Brings CSV, JSONL or Parquet files into a directory that --backend reads.",
        epilog="All or nothing: a run that fails or is interrupted leaves the data as they were.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files, or quoted patterns such as 'logs/*.csv'")
    add("--into", type=Path, required=True, metavar="DIR", help="the data directory")
    add("--table", choices=tuple(published_tables()), help="default: gateway_model_metrics")
    add("--preset", choices=preset_names(), help="a known origin: its columns need no --map")
    add(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=SOURCE,...",
        help="columns of the table and the columns of the files that fill them; may be repeated",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="a column of the table that has one value in all rows; may be repeated",
    )
    add("--timezone", metavar="ZONE", help="the zone of times without an offset, such as UTC")
    add("--prices", type=Path, metavar="FILE", help="a TOML file of prices, for rows without cost")
    add("--format", choices=("csv", "jsonl", "parquet"), help="default: by the files' names")
    add("--strict", action="store_true", help="import nothing if any row is refused")
    add("--again", action="store_true", help="import files that were imported before once more")
    add("--memory", default="1GB", metavar="SIZE", help="most memory to use (default: 1GB)")
    add("--threads", type=int, default=2, metavar="N", help="threads to use (default: 2)")
    return parser
