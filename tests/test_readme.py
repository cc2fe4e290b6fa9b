"""The README's tables are made from the code; `python tests/test_readme.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

import pytest

from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.measures import SHARE, SHARE_FORMULA, load_measures, measures_of
from gateway_metrics_mcp.settings import Settings, flag_names
from gateway_metrics_mcp.tools import TOOLS
from gateway_metrics_mcp.values import RATIO

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
ANSWERS: Final = ROOT / "docs" / "answers.md"
SETTINGS: Final = ROOT / "docs" / "settings.md"


def tools_table() -> str:
    lines = ["| tool | what it answers |", "|---|---|"]
    for tool in TOOLS.values():
        first = (tool.publish().description or "").split(". ")[0]
        names = ", ".join(f"`{name}`" for name in tool.arguments.names())
        lines.append(f"| `{tool.name}` | {first.rstrip('.')}. Arguments: {names} |")
    return "\n".join(lines)


def settings_table() -> str:
    lines = ["| flag | default | what |", "|---|---|---|"]
    for name in flag_names():
        field = Settings.model_fields[name]
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        is_switch = isinstance(field.default, bool)
        default = str(field.default).lower() if is_switch else field.default
        value = "" if default in (None, ()) else f"`{default}`"
        what = f"{field.description}{': ' + ', '.join(choices) if choices else ''}"
        lines.append(f"| `--{name.replace('_', '-')}` | {value} | {what} |")
    return "\n".join(lines)


def measures_table() -> str:
    catalog, given = load_catalog(), load_measures()
    lines = ["| measure | what it is | datasources |", "|---|---|---|"]
    for measure in given:
        unit = "in percent" if measure.unit == RATIO else f"in {measure.unit}"
        lacking = [n for n in measure.datasources if measure.name not in measures_of(n, catalog)]
        where = [f"{n}{' (own catalog)' if n in lacking else ''}" for n in measure.datasources]
        lines.append(f"| `{measure.name}` | {measure.formula}; {unit} | {', '.join(where)} |")
    lines.append(f"| `{SHARE}` | {SHARE_FORMULA}; in percent | all |")
    return "\n".join(lines)


TABLES: Final = {
    README: {"tools": tools_table},
    SETTINGS: {"settings": settings_table},
    ANSWERS: {"measures": measures_table},
}


def with_tables(path: Path) -> str:
    text = path.read_text("utf-8")
    for name, make in TABLES[path].items():
        table = make()
        start, end = f"<!-- {name}: made by tests/test_readme.py -->", f"<!-- end of {name} -->"
        block = f"{start}\n{table}\n{end}"
        head, rest = text.split(start)
        text = head + block + rest.split(end)[1]
    return text


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_code(path: Path) -> None:
    assert with_tables(path) == path.read_text("utf-8")


def test_the_readme_is_at_most_200_lines() -> None:
    assert README.read_text("utf-8").count("\n") <= 200


def test_every_document_it_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8"))

    assert [link for link in links if not (README.parent / link).is_file()] == []


if __name__ == "__main__":
    for path in TABLES:
        path.write_text(with_tables(path), "utf-8")
