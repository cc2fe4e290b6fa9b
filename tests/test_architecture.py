"""The shape of the house: rooms, doors, and one place for each thing."""

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

# A room imports only from rooms on lines below it; rooms of one line do not import each other.
ROOMS: Final = (
    ("cli",),
    ("http",),
    ("server",),
    ("rendering",),
    ("reports",),
    ("backends", "auth"),
    ("settings",),
    ("query", "runtime"),
    ("errors",),
)

# Each engine is imported in these rooms alone.
DOORS: Final = {
    "httpcore": ("backends.gateway.transport",),
    "httpx": ("backends.gateway", "auth"),
    "jwt": ("auth",),
    "duckdb": ("backends.duckdb", "backends.demo", "cli.ingest"),
    "clickhouse_connect": ("backends.clickhouse",),
    "mcp": ("http", "server", "cli.mcp_client", "auth"),
    "mcp_types": ("server", "cli.mcp_client"),
    "prometheus_client": ("runtime.metrics",),
    "vl_convert": ("rendering.charts",),
    "starlette": ("http", "auth"),
    "opentelemetry": ("runtime.logs",),
    "sse_starlette": ("http.shutdown",),
    "uvicorn": ("http.shutdown",),
    "cachetools": ("backends.middleware",),
    "tenacity": ("backends.gateway.retries",),
}


Graph = dict[str, frozenset[str]]


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports_of(path: Path) -> frozenset[str]:
    """The modules that a file imports; of the package's own, without its name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(name.removeprefix(f"{PACKAGE}.") for name in found)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Each module with what it imports; read by who runs these tests, not by all who collect."""
    return {module_of(path): imports_of(path) for path in FILES}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def test_imports_point_one_way(graph: Graph) -> None:
    level = {room: number for number, line in enumerate(ROOMS) for room in line}
    found = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others & graph.keys()
        if room_of(module) in level and room_of(other) in level
        if room_of(module) != room_of(other) and level[room_of(module)] >= level[room_of(other)]
    ]

    assert found == []
    assert {room_of(module) for module in graph} - level.keys() == {"__init__", "__main__"}


def test_no_files_form_a_circle(graph: Graph) -> None:
    left = {module: others & graph.keys() - {module} for module, others in graph.items()}
    size = 0
    while len(left) != size:  # what imports no other, and what no other imports, is in no circle
        size = len(left)
        imported = frozenset().union(*left.values())
        left = {m: others & left.keys() for m, others in left.items() if m in imported and others}

    assert sorted(left) == []


@pytest.mark.parametrize("engine", DOORS)
def test_each_engine_is_imported_at_its_doors_alone(graph: Graph, engine: str) -> None:
    users = {
        module
        for module, others in graph.items()
        if any(name == engine or name.startswith(f"{engine}.") for name in others)
    }

    assert users
    assert [user for user in users if not user.startswith(DOORS[engine])] == []


def test_no_room_imports_a_private_name_of_another_module(graph: Graph) -> None:
    found = [
        f"{module} imports {name}"
        for module, others in graph.items()
        for name in others
        if name.rpartition(".")[0] in graph and name.rpartition(".")[2].startswith("_")
        if not name.endswith("__version__")
    ]

    assert found == []


def test_functions_are_short_and_modules_say_what_they_are() -> None:
    found = []
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        if not ast.get_docstring(tree):
            found.append(f"{module_of(path)} says nothing")
        found += [
            f"{module_of(path)}.{node.name} is longer than 50 lines"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if (node.end_lineno or 0) - node.lineno >= 50
        ]

    assert found == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("duckdb", "clickhouse_connect", "httpx", "uvicorn", "mcp", "pydantic")
    code = f"import sys, {PACKAGE}; print([n for n in {heavy} if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code

    assert done.stdout.strip() == "[]"


def test_the_public_face_is_what_it_is() -> None:
    import gateway_metrics_mcp

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
