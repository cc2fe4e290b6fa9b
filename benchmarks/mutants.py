"""Mutation testing of query, reports and backends/sql: how many seeded faults the tests find.

A mutant is one function changed at one place by one of cosmic-ray's operators. mutants.json
identifies each by what survives moves: the function, the operator, the index of its place in the
function, and a hash of the function's shape (its code without names, annotations and wording). So
a list drawn from one version of the package finds the same code in another. If the function was
edited elsewhere, the changed line itself is searched.

    mutants.py draw SOURCE LIST [--rooms FILE]   200 mutants by a fixed seed, by statements
    mutants.py redraw SOURCE LIST NEW            keep those found in SOURCE, draw the others anew
    mutants.py run TREE LIST --python P --into D run each one's tests; can be resumed
                              [--tests WHICH]
    mutants.py show D                            the results

It needs cosmic-ray (`pip install "cosmic-ray>=8,<9"`, in an environment of its own); the tests run
under P, the Python of an environment with the tests' packages.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import hashlib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import venv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from layouts import PACKAGE
from size import module_of

MANY: Final = 200
SEED: Final = 46278
ROOMS: Final = {"query": ("query",), "reports": ("reports",), "sql": ("backends.sql",)}
"""The modules of each room, by the beginning of their names."""
# Without RemoveDecorator, which changes the import, and the two that swap variables at random.
FAMILIES: Final = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator",
    "ZeroIterationForLoop",
)
# Of the two families with many variants only the usual: others raise at once or change nothing.
VARIANTS: Final = {
    f"core/Replace{kind}Operator_{a}_{b}"
    for kind, pairs in {
        "Binary": "Add-Sub Mul-Div Mul-FloorDiv Div-Mul FloorDiv-Mul FloorDiv-Div Mod-Mul Sub-Add",
        "Comparison": "Eq-NotEq Lt-LtE Lt-GtE Gt-GtE Gt-LtE LtE-Lt LtE-Gt GtE-Gt GtE-Lt Is-IsNot"
        " In-NotIn NotEq-Eq IsNot-Is NotIn-In",
    }.items()
    for a, b in (pair.split("-") for pair in pairs.split())
}
ARROW: Final = "  =>  "
LEAST_LINE: Final = 20
"""A line that is searched in the whole room has at least this many characters, to be unique."""
WALL_S: Final = 1800
CPU_SPARE_S: Final = 60
CPU_TIMES: Final = 3
"""The limit of processor time for a mutant's tests: `CPU_TIMES` times their usual time, plus
`CPU_SPARE_S`. Processor time, because a busy machine must not count as a killed mutant."""
Span: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, identified by what survives moves; `change` shows it to people."""

    room: str
    function: str
    shape: str
    operator: str
    ordinal: int
    change: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method of a module, with its nested functions."""

    name: str
    path: Path
    node: ast.FunctionDef | ast.AsyncFunctionDef
    shape: str

    @property
    def first(self) -> int:
        """The index of its first line, from 0, including decorators."""
        return min([self.node.lineno, *(d.lineno for d in self.node.decorator_list)]) - 1

    @property
    def statements(self) -> int:
        """Its number of statements."""
        return sum(isinstance(node, ast.stmt) for node in ast.walk(self.node)) - 1


# The functions of a tree.


class _Shape(ast.NodeTransformer):
    """Replaces names by numbers in order of first use, and all strings by one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def _number(self, name: str) -> str:
        return (
            name
            if hasattr(builtins, name)
            else self._names.setdefault(name, f"n{len(self._names)}")
        )

    def visit(self, node: ast.AST) -> Any:
        """Replace the node's own names, then visit its children."""
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, None)
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)
        for field in ("id", "attr", "arg", "name", "rest", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                setattr(node, field, self._number(name))
        if isinstance(node, ast.ImportFrom):
            node.module = "module"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = "text"
        return self.generic_visit(node)


def shape_of(node: ast.AST) -> str:
    copy = ast.parse(ast.unparse(node)).body[0]
    for inner in ast.walk(copy):
        match inner:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if ast.get_docstring(inner) is not None:
                    inner.body = inner.body[1:] or [ast.Pass()]
    text = ast.dump(_Shape().visit(copy))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def functions_of(path: Path, module: str) -> Iterator[Function]:
    def walk(body: Iterable[ast.stmt], prefix: str) -> Iterator[Function]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(f"{prefix}{node.name}", path, node, shape_of(node))

    yield from walk(ast.parse(path.read_text("utf-8")).body, f"{module}:")


def read_functions(source: Path) -> list[Function]:
    package = source / PACKAGE
    return [
        function
        for path in sorted(package.rglob("*.py"))
        for function in functions_of(path, module_of(path, package).removeprefix(f"{PACKAGE}."))
    ]


def room_of(function: str, rooms: dict[str, Any]) -> str | None:
    module = function.partition(":")[0]
    for room, names in rooms.items():
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return room
    return None


# The places of a function that operators change.


@cache
def load_operators() -> dict[str, Callable[[], Any]]:
    plugins = importlib.import_module("cosmic_ray.plugins")
    return {
        name: plugins.get_operator(name)
        for name in sorted(plugins.operator_names())
        if name in VARIANTS or family_of(name) in FAMILIES
    }


def family_of(operator: str) -> str:
    return operator.removeprefix("core/").partition("_")[0]


def text_of(function: Function) -> str:
    """The function's source, parsable by itself: a method is wrapped in a class."""
    lines = function.path.read_text("utf-8").splitlines(keepends=True)
    text = "".join(lines[function.first : function.node.end_lineno])
    return f"class Here:\n{text}" if text.startswith(" ") else text


def mutate(function: Function, operator: str, ordinal: int) -> str | None:
    """The text of the whole file with the change; None if there is no such place."""
    changed = _change(text_of(function), operator, ordinal)
    if changed is None:
        return None
    lines = function.path.read_text("utf-8").splitlines(keepends=True)
    before, after = lines[: function.first], lines[function.node.end_lineno or 0 :]
    return "".join([*before, changed.removeprefix("class Here:\n"), *after])


def _change(text: str, operator: str, ordinal: int) -> str | None:
    mutating = importlib.import_module("cosmic_ray.mutating")
    changed: str | None = mutating.mutate_code(text, load_operators()[operator](), ordinal)
    return changed


def places_of(function: Function) -> dict[str, list[tuple[str, int]]]:
    """The operators and ordinals per family, without annotations, which no test can run."""
    trees = importlib.import_module("cosmic_ray.ast")
    text = text_of(function)
    nodes = [*trees.ast_nodes(trees.get_ast(text))]
    unread = [*_annotations(ast.parse(text))]
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, make in load_operators().items():
        operator = make()
        positions = [place for node in nodes for place in operator.mutation_positions(node)]
        for ordinal, (start, end) in enumerate(positions):
            if not any(a <= start and end <= b for a, b in unread):
                found[family_of(name)].append((name, ordinal))
    return found


def _annotations(tree: ast.AST) -> Iterator[Span]:
    """The spans of annotations, and of decorators, which run once at import."""
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for part in [*parts, *getattr(node, "decorator_list", [])]:
            if isinstance(part, ast.expr):
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                yield (part.lineno, part.col_offset), end


# Drawing.


def draw(functions: list[Function], rooms: dict[str, Any], many: int, seed: str) -> list[Mutant]:
    """Draw mutants in proportion to statements, per room and per function."""
    chance = random.Random(seed)  # noqa: S311 - a sample
    by_room: dict[str, list[Function]] = defaultdict(list)
    for function in functions:
        if (room := room_of(function.name, rooms)) is not None:
            by_room[room].append(function)
    weights = {room: sum(f.statements for f in them) for room, them in by_room.items()}
    drawn: list[Mutant] = []
    for room, them in sorted(by_room.items()):
        # The last room takes what rounding leaves.
        share = round(many * weights[room] / sum(weights.values()))
        share = many - len(drawn) if room == max(by_room) else share
        drawn += draw_from(them, room, share, chance)
    return drawn


def draw_from(
    functions: list[Function], room: str, many: int, chance: random.Random
) -> list[Mutant]:
    drawn: dict[Mutant, None] = {}
    while len(drawn) < many:
        (function,) = chance.choices(functions, [f.statements for f in functions])
        if places := places_of(function):
            family = chance.choice(sorted(places))
            operator, ordinal = chance.choice(places[family])
            change = describe(function, operator, ordinal)
            mutant = Mutant(room, function.name, function.shape, operator, ordinal, change)
            if change:
                drawn.setdefault(mutant)
    return [*drawn]


def describe(function: Function, operator: str, ordinal: int) -> str:
    """The changed line before and after; empty if it is invalid or the same program."""
    text = text_of(function)
    changed = _change(text, operator, ordinal) or text
    try:
        if ast.dump(ast.parse(text)) == ast.dump(ast.parse(changed)):
            return ""
    except SyntaxError:
        return ""
    pairs = zip(text.splitlines(), changed.splitlines(), strict=False)
    return next((f"{a.strip()}{ARROW}{b.strip()}" for a, b in pairs if a != b), "")


class Tree:
    """The functions of a source tree; finds in it mutants that were drawn from another tree."""

    def __init__(self, functions: list[Function], renamed: dict[str, str]) -> None:
        self.functions = functions
        self._renamed = renamed
        self._by_shape: dict[str, list[Function]] = defaultdict(list)
        for function in functions:
            self._by_shape[function.shape].append(function)

    def find(self, mutant: Mutant) -> tuple[Function, str] | None:
        """The function and its file's text with the change; None if the code is gone."""
        same = self._by_shape.get(mutant.shape, [])
        found = max(same, key=lambda function: _nearness(mutant, function), default=None)
        # Many functions share a shape of one or two statements, so the name has to match too.
        if found and found.statements and (len(same) == 1 or _nearness(mutant, found)[1]):
            text = mutate(found, mutant.operator, mutant.ordinal)
            return (found, text) if text else None
        return self._find_line(mutant)

    def _find_line(self, mutant: Mutant) -> tuple[Function, str] | None:
        """Find a mutant by the line it changes, if the function around it was edited.

        Apart from renamed names the line must be equal, and unique in the function of that name or
        in the whole room.
        """
        before, _, after = mutant.change.partition(ARROW)
        wanted = self._rename(before)
        places = [
            (function, number)
            for function in self.functions
            if room_of(function.name, ROOMS) == mutant.room
            for number, line in enumerate(_lines_of(function), function.first)
            if self._rename(line.strip()) == wanted
        ]
        named = [place for place in places if _nearness(mutant, place[0])[1]]
        if len(named) != 1 and (len(places) != 1 or len(wanted) < LEAST_LINE):
            return None
        function, number = (named if len(named) == 1 else places)[0]
        lines = function.path.read_text("utf-8").splitlines(keepends=True)
        indent = lines[number][: -len(lines[number].lstrip())]
        lines[number] = f"{indent}{self._rename(after)}\n"
        return function, "".join(lines)

    def _rename(self, line: str) -> str:
        return re.sub(r"\w+", lambda word: self._renamed.get(word[0], word[0]), line)


def _nearness(mutant: Mutant, function: Function) -> tuple[bool, bool, bool]:
    module, _, name = mutant.function.partition(":")
    other, _, others = function.name.partition(":")
    return others == name, others.rpartition(".")[2] == name.rpartition(".")[2], other == module


def _lines_of(function: Function) -> list[str]:
    lines = function.path.read_text("utf-8").splitlines()
    return lines[function.first : function.node.end_lineno]


# Run the tests.


@dataclass
class Bench:
    """A copy of a tree, and an environment that runs its tests."""

    tree: Path
    python: Path

    @classmethod
    def make(cls, tree: Path, python: str, into: Path) -> Bench:
        """Copy the tree; the environment has the packages of `python`."""
        copy = into / "tree"
        if copy.exists():
            shutil.rmtree(copy)
        ignored = shutil.ignore_patterns(
            ".git", ".venv*", "__pycache__", ".*_cache", "node_modules"
        )
        shutil.copytree(tree, copy, ignore=ignored)
        venv.create(copy / ".venv", symlinks=True)
        code = "import site; print(site.getsitepackages()[0])"
        packages = subprocess.check_output([python, "-c", code], text=True).strip()  # noqa: S603
        (folder,) = (copy / ".venv/lib").glob("python*/site-packages")
        # Lines of a .pth file are searched in order: the copy's code must come first.
        lines = [str(copy / "src"), packages, *_search_path(python)]
        (folder / "packages.pth").write_text("\n".join(lines) + "\n", "utf-8")
        return cls(copy, copy / ".venv/bin/python")

    def test(self, tests: list[str], cpu_s: float) -> tuple[str, float]:
        """Run tests: `survived`, `killed` or `timeout`, and their processor time in seconds."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 5))

        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not thorough"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with subprocess.Popen(  # noqa: S603 - the tests
            [str(self.python), "-m", "pytest", *options, *tests],
            cwd=self.tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            start_new_session=True,
            preexec_fn=limit,  # noqa: PLW1509 - one thread
            text=True,
        ) as process:
            try:
                self.output = process.communicate(timeout=WALL_S)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                self.output = process.communicate()[0]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # Negative: a signal ended it, at a limit. Other codes: a test failed, or pytest's start.
        outcome = "timeout" if process.returncode < 0 else "killed"
        return outcome if process.returncode else "survived", took


def _search_path(python: str) -> list[str]:
    """The folders that the environment's .pth files name: a .pth within a .pth is not read."""
    code = "import sys; print('\\n'.join(p for p in sys.path if 'site-packages' in p))"
    return subprocess.check_output([python, "-c", code], text=True).split()  # noqa: S603


def run(tree: Path, listed: Path, which: str, python: str, into: Path) -> None:
    content = json.loads(listed.read_text("utf-8"))
    mutants = [Mutant(**each) for each in content["mutants"]]
    into.mkdir(parents=True, exist_ok=True)
    results = into / "results.jsonl"
    bench = Bench.make(tree, python, into)
    functions = Tree(read_functions(bench.tree / "src"), content["renamed"])
    done = {Mutant(**each["mutant"]) for each in read_results(results)}
    tests: dict[str, list[str]] = content["tests"][which]
    usual = read_usual(bench, tests, into / "usual.json")
    for number, mutant in enumerate(mutants, 1):
        if mutant in done:
            continue
        found = functions.find(mutant)
        outcome, took, said = "absent", 0.0, ""
        if found is not None:
            function, mutated = found
            original = function.path.read_text("utf-8")
            write_module(function.path, mutated)
            start = time.monotonic()
            cpu_s = CPU_TIMES * usual[mutant.room] + CPU_SPARE_S
            outcome, took = bench.test(tests[mutant.room], cpu_s)
            said = next(
                (x for x in bench.output.splitlines() if x.startswith(("FAILED", "ERROR"))), ""
            )
            write_module(function.path, original)
            print(f"{number:3} {outcome:8} {time.monotonic() - start:5.0f} s", end=" ")
        print(f"{mutant.function} {mutant.change}", flush=True)
        result = {"outcome": outcome, "cpu_s": round(took, 1), "by": said[:200]}
        result |= {"found": found and found[0].name, "mutant": asdict(mutant)}
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    show(into)


def write_module(path: Path, text: str) -> None:
    """Write a module and delete its byte code: Python detects a change by size and second only."""
    path.write_text(text, "utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def read_usual(bench: Bench, tests: dict[str, list[str]], kept: Path) -> dict[str, float]:
    """The processor time of each room's tests on unchanged code, on which they must pass."""
    usual: dict[str, float] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for room in sorted(tests.keys() - usual.keys()):
        outcome, usual[room] = bench.test(tests[room], WALL_S)
        if outcome != "survived":
            raise RuntimeError(f"the tests of {room} fail as the code is:\n{bench.output[-3000:]}")
        print(f"the tests of {room} take {usual[room]:.0f} s of processor time", flush=True)
        kept.write_text(json.dumps(usual), "utf-8")
    return usual


def read_results(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def show(into: Path) -> None:
    results = read_results(into / "results.jsonl")
    for room in [*ROOMS, None]:
        those = [each for each in results if room in (None, each["mutant"]["room"])]
        counts = Counter(each["outcome"] for each in those)
        dead, alive = counts["killed"] + counts["timeout"], counts["survived"]
        share = f"{100 * dead / (dead + alive):.1f} %" if dead + alive else "none"
        print(f"{room or 'all':8} {dict(counts)}: {share} of {dead + alive} died")


# The command line.


def write_list(path: Path, mutants: list[Mutant], content: dict[str, Any]) -> None:
    """Write the list, with the tests of each room and the names that were renamed since."""
    lines = ",\n".join(json.dumps(asdict(each), ensure_ascii=False) for each in mutants)
    head = "".join(f'"{k}": {json.dumps(content[k], indent=1)},\n' for k in ("tests", "renamed"))
    path.write_text(f'{{{head}"mutants": [\n{lines}\n]}}\n', "utf-8")


def redraw(source: Path, listed: Path, new: Path) -> None:
    content = json.loads(listed.read_text("utf-8"))
    tree = Tree(read_functions(source), content["renamed"])
    kept, lost = [], Counter[str]()
    for mutant in [Mutant(**each) for each in content["mutants"]]:
        if tree.find(mutant) is not None:
            kept.append(mutant)
        else:
            lost[mutant.room] += 1
    chance = random.Random(f"{SEED} anew")  # noqa: S311 - a sample
    # Functions found again keep their place in the sample; new mutants come from others.
    had = {mutant.shape for mutant in kept}
    drawn: list[Mutant] = []
    for room, many in sorted(lost.items()):
        them = [f for f in tree.functions if room_of(f.name, ROOMS) == room and f.shape not in had]
        drawn += draw_from(them, room, many, chance)
    write_list(new, kept + drawn, content)
    print(f"{len(kept)} kept, {len(drawn)} drawn anew: {dict(lost)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in {
        "draw": ["source", "listed"],
        "redraw": ["source", "listed", "new"],
        "run": ["tree", "listed"],
        "show": ["into"],
    }.items():
        command = commands.add_parser(name)
        for place in places:
            command.add_argument(place, type=Path)
        if name == "draw":
            command.add_argument("--rooms", type=Path, help="JSON: the modules of each room")
        elif name == "run":
            command.add_argument("--python", required=True)
            command.add_argument("--into", type=Path, required=True)
            command.add_argument("--tests", default="now", help="which of the list's (now)")
    flags = parser.parse_args()
    if flags.command == "draw":
        rooms = json.loads(flags.rooms.read_text("utf-8")) if flags.rooms else ROOMS
        had = (
            json.loads(flags.listed.read_text("utf-8"))
            if flags.listed.exists()
            else {"tests": {}, "renamed": {}}
        )
        mutants = draw(read_functions(flags.source), rooms, MANY, str(SEED))
        write_list(flags.listed, mutants, had)
        print(Counter(mutant.room for mutant in mutants))
    elif flags.command == "redraw":
        redraw(flags.source, flags.listed, flags.new)
    elif flags.command == "run":
        run(flags.tree.resolve(), flags.listed, flags.tests, flags.python, flags.into.resolve())
    else:
        show(flags.into)


if __name__ == "__main__":
    main()
