"""The shape of the house: layers, doors, sizes, and one place for each thing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "gateway_metrics_mcp"
SOURCE: Final = ROOT / "src" / PACKAGE
FILES: Final = sorted(SOURCE.rglob("*.py"))

# A module imports only from lines below it; modules of one line do not import each other.
LAYERS: Final = (
    ("__main__",),
    ("cli",),
    ("demo", "check", "ingest", "ask", "installing", "transports"),
    ("server", "api", "client", "token_command", "logs", "draining"),
    ("completing",),
    ("templates", "desk", "resources", "view_page"),
    ("tools", "backends.opening", "operations", "callers"),
    ("backends.guarding",),
    ("asking", "charts", "backends.gateway", "backends.demo", "auth"),
    ("backends.caching", "backends.limiting", "backends.merging"),
    ("backends.duckdb", "backends.clickhouse"),
    ("backends.sql", "answers", "backends.demo_data", "backends.measured"),
    ("computing", "regrouping"),
    ("question", "backends.dialect", "backends.files", "hiding", "setting_flags"),
    (
        "arguments",
        "scope",
        "subjects",
        "admission",
        "openapi",
        "exposition",
        "progress",
        "readiness",
        "backends",
        "backends.tables",
        "prompts",
        "settings",
        "sums",
        "values",
    ),
    ("access", "excess", "result", "call_record", "revealed", "stopping", "aside"),
    ("metering", "telemetry"),
    ("query",),
    ("errors", "__init__"),
)

# Each engine has one door (or one per job, named in the order of the layers).
DOORS: Final = {
    "httpx": ("backends.gateway", "callers"),
    "httpcore": ("backends.gateway",),
    "jwt": ("callers",),
    "duckdb": ("backends.duckdb", "backends.demo_data", "ingest"),
    "clickhouse_connect": ("backends.clickhouse",),
    "urllib3": ("backends.clickhouse",),
    "mcp": (
        "transports",
        "server",
        "completing",
        "templates",
        "resources",
        "view_page",
        "tools",
        "client",
        "callers",
    ),
    "mcp_types": ("server", "completing", "templates", "resources", "tools", "client"),
    "prometheus_client": ("exposition",),
    "vl_convert": ("charts",),
    "starlette": ("transports", "api", "operations", "callers"),
    "opentelemetry": ("telemetry",),
    "sse_starlette": ("draining",),
    "uvicorn": ("draining",),
    "cachetools": ("backends.caching",),
    "tenacity": ("backends.gateway",),
}

# Concepts of several files: their parts may import each other.
GROUPS: Final = {
    "answers": "answers",
    "charts": "charts",
    "ask": "ask",
    "query": "query",
    "backends.gateway_": "backends.gateway",
    "backends.clickhouse_": "backends.clickhouse",
    "backends.duckdb_": "backends.duckdb",
    "backends.conditions": "backends.sql",
    "backends.sql_": "backends.sql",
    "filter_values": "question",
    "callers": "callers",
    "hiding": "hiding",
    "question_": "question",
    "completing": "completing",
    "computing": "computing",
    "listing": "question",
    "ingest": "ingest",
    "installing": "installing",
    "templates": "templates",
}


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def group_of(module: str) -> str:
    for prefix, group in GROUPS.items():
        if module == prefix or module.startswith((f"{prefix}.", f"{prefix}_")):
            return group
        if prefix.endswith("_") and module.startswith(prefix):
            return group
    return module


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def level_of(module: str) -> int:
    for level, line in enumerate(LAYERS):
        if group_of(module) in line:
            return level
    raise AssertionError(f"{module} stands on no line of the layers")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_module_imports_only_from_lines_below_it(path: Path) -> None:
    module = module_of(path)
    for name in imports_of(path):
        if not name.startswith(f"{PACKAGE}."):
            continue
        other = name.removeprefix(f"{PACKAGE}.")
        if group_of(other) != group_of(module):
            assert level_of(other) > level_of(module), f"{module} imports {other}"


@pytest.mark.parametrize("engine", DOORS)
def test_each_engine_is_imported_at_its_doors_alone(engine: str) -> None:
    users = {
        module_of(path)
        for path in FILES
        if any(name == engine or name.startswith(f"{engine}.") for name in imports_of(path))
    }

    assert {group_of(user) for user in users} <= set(DOORS[engine])


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    functions = [
        (node.name, (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert text.count("\n") <= 300
    assert [(name, lines) for name, lines in functions if lines > 40] == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("duckdb", "clickhouse_connect", "httpx", "uvicorn", "mcp", "pydantic")
    code = f"import sys, {PACKAGE}; print([n for n in {heavy} if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code

    assert done.stdout.strip() == "[]"


def test_the_public_face_is_what_it_is() -> None:
    import gateway_metrics_mcp  # noqa: PLC0415 - the face itself is under test

    assert gateway_metrics_mcp.__all__ == ["__version__"]


def test_no_test_is_named_by_the_moment_it_was_collected_in() -> None:
    """Each process of the suite collects by itself, and all must come to the same names."""
    clocks = {"time", "monotonic", "now", "today", "utcnow", "uuid4", "random", "getpid"}
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if "node_modules" not in path.parts  # others' tools, fetched for the conformance suite
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        for call in calls_at_once(decorator)
        if ast.unparse(call.func).rpartition(".")[2] in clocks
    ]

    assert found == []


def calls_at_once(node: ast.AST) -> Iterator[ast.Call]:
    """What is called when the node is read, not what a lambda calls later."""
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from calls_at_once(child)
