"""The size of the package: statements, lines, files, top-level entries, and import circles.

A statement is an `ast.stmt` of a Python file; SQL, JavaScript and other files are counted in lines.
Usage: python benchmarks/size.py [SOURCE] [--by-folder]
where SOURCE holds the package: `src` of this repository by default, or that of another version.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from layouts import PACKAGE

EVERY_PACKAGE_HAS: Final = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
SOURCE: Final = Path(__file__).parents[1] / "src"


class Size(NamedTuple):
    """The size of one or several files."""

    files: int = 0
    statements: int = 0
    lines: int = 0

    def add(self, other: Size) -> Size:
        """The sum of both."""
        return Size(*(a + b for a, b in zip(self, other, strict=True)))


def read_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def measure(path: Path) -> Size:
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(read_tree(path)))
    return Size(1, statements, count_lines(path))


def count_lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def module_of(path: Path, package: Path) -> str:
    name = ".".join((PACKAGE, *path.relative_to(package).with_suffix("").parts))
    return name.removesuffix(".__init__")


def import_graph(package: Path) -> dict[str, set[str]]:
    """The imports between modules of the package, including those inside functions.

    `from a import b` imports `a.b` if that is a module, else `a`.
    """
    modules = {module_of(path, package): path for path in sorted(package.rglob("*.py"))}
    graph = {}
    for module, path in modules.items():
        found = set()
        for node in ast.walk(read_tree(path)):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    found.add(inner if inner in modules else node.module)
        graph[module] = (found & modules.keys()) - {module}
    return graph


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """The modules that `start` imports, directly or indirectly."""
    found: set[str] = set()
    left = [start]
    while left:
        new = graph.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The modules that import themselves, through others."""
    return sorted(module for module in graph if module in reachable(graph, module))


def show(size: Size) -> str:
    return f"{size.files:4} files {size.statements:6} statements {size.lines:6} lines"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("--by-folder", action="store_true", help="show each folder")
    flags = parser.parse_args()
    package = flags.source / PACKAGE
    if not package.is_dir():
        parser.error(f"{flags.source} holds no {PACKAGE}")
    folders: dict[str, Size] = defaultdict(Size)
    for path in package.rglob("*.py"):
        folder = path.parent.relative_to(package).as_posix()
        folders[folder] = folders[folder].add(measure(path))
    if flags.by_folder:
        for name, size in sorted(folders.items()):
            print(f"{name:24} {show(size)}")
    others: dict[str, int] = defaultdict(int)
    for path in package.rglob("*"):
        if path.is_file() and path.suffix in (".sql", ".js", ".html", ".css", ".json", ".toml"):
            others[path.suffix[1:]] += count_lines(path)
    whole = Size()
    for size in folders.values():
        whole = whole.add(size)
    top = {entry.name for entry in package.iterdir()} - EVERY_PACKAGE_HAS
    found = circles(import_graph(package))
    print(show(whole))
    print("other lines: " + ", ".join(f"{kind} {n}" for kind, n in sorted(others.items())))
    print(f"top-level entries {len(top)}")
    print(f"files in import circles {len(found)}" + "".join(f"\n  {name}" for name in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
