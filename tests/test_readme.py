"""The README's tables are made from the code; `python tests/test_readme.py` writes them anew."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import quote, urlencode

import pytest

from gateway_metrics_mcp.query.catalog import (
    SHARE,
    load_catalog,
    load_measures,
)
from gateway_metrics_mcp.reports.columns import RATIO
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import GATEWAY_HOST, GATEWAY_TOKEN, Settings, flag_names

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "src" / "gateway_metrics_mcp"
README: Final = ROOT / "README.md"
PROMPTS: Final = ROOT / "docs" / "prompts.md"
ANSWERS: Final = ROOT / "docs" / "answers.md"
SETTINGS: Final = ROOT / "docs" / "settings.md"
DOCUMENTS: Final = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CURSOR: Final = "https://cursor.com/en/install-mcp"
VS_CODE: Final = "https://insiders.vscode.dev/redirect/mcp/install"
NAME: Final = "gateway-metrics"
UVX: Final[dict[str, Any]] = {"command": "uvx", "args": ["gateway-metrics-mcp"]}


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


def prompts_table() -> str:
    lines = ["| prompt | what it finds | arguments |", "|---|---|---|"]
    for one in build_server(Settings()).prompts.templates.values():
        marks = {
            a.name: f"**`{a.name}`**" if a.is_required else f"`{a.name}`" for a in one.arguments
        }
        names = [
            f"{marks[a.name]} ({a.default})" if a.default else marks[a.name] for a in one.arguments
        ]
        lines.append(f"| `{one.name}` | {one.front.description} | {', '.join(names)} |")
    return "\n".join(lines)


def measures_table() -> str:
    catalog, given = load_catalog(), load_measures()
    lines = ["| measure | what it is | datasources |", "|---|---|---|"]
    for measure in given:
        unit = "in percent" if measure.unit == RATIO else f"in {measure.unit}"
        lacking = [n for n in measure.datasources if measure.name not in catalog.measures[n]]
        where = [f"{n}{' (own catalog)' if n in lacking else ''}" for n in measure.datasources]
        lines.append(f"| `{measure.name}` | {measure.formula}; {unit} | {', '.join(where)} |")
    share = "the row's part of ALL, of the additive value before it"
    lines.append(f"| `{SHARE}` | {share}; in percent | all |")
    return "\n".join(lines)


def cursor_link() -> str:
    """Cursor puts variables of the environment it was started in into the server's."""
    env = {name: f"${{env:{name}}}" for name in (GATEWAY_HOST, GATEWAY_TOKEN)}
    config = base64.b64encode(_write({**UVX, "env": env}).encode()).decode()
    return f"{CURSOR}?{urlencode({'name': NAME, 'config': config}, quote_via=quote)}"


def vs_code_link() -> str:
    """VS Code asks for both, and keeps what is a password as a secret."""
    host, token = f"{NAME}-host", f"{NAME}-secret"
    said = {
        host: "Gateway host, such as https://your-org.truefoundry.cloud",
        token: "Gateway token",
    }
    inputs = [
        {"type": "promptString", "id": name, "description": text, "password": name == token}
        for name, text in said.items()
    ]
    env = {GATEWAY_HOST: f"${{input:{host}}}", GATEWAY_TOKEN: f"${{input:{token}}}"}
    config = {"type": "stdio", **UVX, "env": env}
    query = {"name": NAME, "inputs": _write(inputs), "config": _write(config)}
    return f"{VS_CODE}?{urlencode(query, quote_via=quote)}"


def _write(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def links_line() -> str:
    """A link per client that has them; neither holds a token."""
    return (
        "One click, once the package is [published](docs/packages.md) (until then, install no"
        " package of its name), with"
        f" [uv](https://docs.astral.sh/uv/): [add to Cursor]({cursor_link()}),"
        f" which takes `{GATEWAY_HOST}` and `{GATEWAY_TOKEN}` from its environment;"
        f" [add to VS Code]({vs_code_link()}), which asks for both."
    )


TABLES: Final = {
    README: {"tools": tools_table, "links": links_line},
    SETTINGS: {"settings": settings_table},
    ANSWERS: {"measures": measures_table},
    PROMPTS: {"prompts": prompts_table},
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


def slug_of(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_and_heading_it_links_to_is_there(path: Path) -> None:
    lost = []
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.is_file():
            lost.append(link)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            if anchor not in map(slug_of, headings):
                lost.append(link)

    assert lost == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_it_names_is_there(path: Path) -> None:
    """Of the repository; or of the package, if it is a file or a folder of ours by its form."""
    names = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", path.read_text("utf-8"))
    folders = ("src/", "tests/", "benchmarks/", "docs/", "prompts/", "bundle/")
    ours = [name for name in names if name.startswith(folders)]
    rooms = {f"{folder.name}/" for folder in PACKAGE.iterdir() if folder.is_dir()}
    beside = [name for name in names if name.startswith(tuple(rooms))]

    assert [name for name in ours if not (ROOT / name).exists()] == []
    assert [name for name in beside if not (PACKAGE / name).exists()] == []


if __name__ == "__main__":
    for path in TABLES:
        path.write_text(with_tables(path), "utf-8")
