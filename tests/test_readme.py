"""The README's tables are made from the code; `python tests/test_readme.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

from gateway_metrics_mcp.settings import Settings, flag_names
from gateway_metrics_mcp.tools import TOOLS

README: Final = Path(__file__).parents[1] / "README.md"


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
        default = str(field.default).lower() if field.default is True else field.default
        value = "" if default in (None, ()) else f"`{default}`"
        what = f"{field.description}{': ' + ', '.join(choices) if choices else ''}"
        lines.append(f"| `--{name.replace('_', '-')}` | {value} | {what} |")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    for name, table in (("tools", tools_table()), ("settings", settings_table())):
        start, end = f"<!-- {name}: made by tests/test_readme.py -->", f"<!-- end of {name} -->"
        block = f"{start}\n{table}\n{end}"
        head, rest = text.split(start)
        text = head + block + rest.split(end)[1]
    return text


def test_the_tables_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")

    assert with_tables(text) == text


def test_the_readme_is_at_most_200_lines() -> None:
    assert README.read_text("utf-8").count("\n") <= 200


def test_every_document_it_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8"))

    assert [link for link in links if not (README.parent / link).is_file()] == []


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
