"""Compares what questions over a data directory take: with another build, by hand, with others.

The same generated rows (engine_rows.py) are imported by this build and by another one, whose
Python has that build and the same packages. Twelve questions are then asked of kept processes
(askers.py) in interleaved rounds, in random order: the other build, this one, and the other again
as the control. A figure is the median ratio of the rounds with its 95 % interval; a target is
missed if the whole interval lies beyond it. The answers of both builds have to be equal to the last
digit, but for percentiles from histograms, which stand apart, and for rounding: 46278ab adds
doubles in the order of its threads. `unsure` is a target within the interval.

parts (--only):
questions  the twelve questions over a day, over 24 hours across two days, and over all days
older      the same over the directory that the other build imported
raw        the same over copies without rollups, against hand-written SQL on the same files
peers      against other engines (peers.py) over a day; needs --peers
calls      a whole tool call against its slowest engine query, without rollups and with
size       bytes on disk
memory     the most memory of a question over all days, in a process of its own
days       a day's question among 3, 30 and 300 days of one run each, and among 30, 365 and 3,650
import     importing CSV, JSON lines and Parquet against a bare COPY with the same order

Usage: python benchmarks/store.py [--data DIR] [--rows 10_000_000] [--days 30] [--other PYTHON]
       [--peers PYTHON] [--only PART ...] [--pairs 30] [--set NAME=JSON ...]
       [--fresh] [--short]

`--set` gives this build's engine more settings, by the names of its constructor, as for percentiles
from histograms. `--data` keeps the rows and the directories, or finds them there; `--fresh` imports
again with this build. `--short`, as in `make bench`, asks a million rows in three days, 7 rounds,
and fails on gross faults only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from math import exp, log
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import duckdb

from against import interval
from askers import Asker, digest_of, take_turns
from engine_rows import DAYS, FIRST, TABLE, check, import_file, write_calls

QUESTIONS: Final = {
    entry["name"]: entry["question"]
    for entry in json.loads(Path(__file__).with_name("engine_questions.json").read_text("utf-8"))
}
NOT_ASKED: Final = "distinct users by team: the API's countDistinct does not take users"
"""The thirteenth question."""
SHORT: Final = ("raw", "calls", "questions", "size")
PEERS: Final = ("native DuckDB", "chdb, Parquet", "chdb, MergeTree", "Polars", "DataFusion")
BESIDE: Final = Path(__file__).parent
ROLLUPS: Final = ("_hour", "_day", "_hist")
"""How names of files begin that a copy without rollups lacks."""
MEMORY: Final = ("cost by model", "percentiles by model", "cost by team", "top users")
ROUNDING: Final = 1e-12
"""What may lie between two builds' sums."""
LEAST_OLDER: Final = 0.9
"""Of the mean over files of the other build: sums are exact now, which 46278ab's are not."""
FEW_ROWS: Final = 100
IMPORTED: Final = 2_000_000
IMPORTS: Final = 7
MORE_DAYS: Final = ((3, 30, 300), (30, 365, 3650))
LARGE: Final = 20_000_000
"""Rows from which on the targets are those of 30 million."""
CHANCE: Final = random.Random(1)  # noqa: S311 - an order


@dataclass(frozen=True)
class Window:
    """A window of time."""

    name: str
    start: str
    end: str
    days: tuple[str, ...]
    """The days that it consists of, if it is whole days."""


@dataclass
class Report:
    """The lines of the table at the end."""

    is_short: bool
    lines: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    is_good: bool = True

    def add(
        self,
        measure: str,
        yardstick: str,
        ratios: Sequence[float],
        target: float | None = None,
        *,
        at_least: bool = False,
        gross: float | None = None,
    ) -> None:
        """Add a figure; in a short run only `gross` makes it fail."""
        low, high, _ = interval([*ratios]) if len(ratios) > 1 else (*ratios, *ratios, 1)
        limit = gross if self.is_short else target
        verdict = said = ""
        if target is not None:
            said = f"{'>=' if at_least else '<='} {target:g}"
        if limit is not None:
            sides = [edge >= limit if at_least else edge <= limit for edge in (low, high)]
            verdict = "ok" if all(sides) else "unsure" if any(sides) else "MISSED"
            self.is_good &= any(sides)
            if self.is_short:
                said = f"{said} ({limit:g} here)"
        figure = f"{median(ratios):.2f} [{low:.2f}, {high:.2f}]"
        self.lines.append((measure, yardstick, figure, said, verdict))

    def fail(self, measure: str, why: str) -> None:
        """Add a fault that no interval excuses."""
        self.is_good = False
        self.lines.append((measure, "", why, "", "MISSED"))

    def show(self) -> None:
        """Print the table."""
        head = ("measure", "against", "median [95 %]", "target", "")
        widths = [max(map(len, column)) for column in zip(head, *self.lines, strict=True)]
        print()
        for line in (head, *self.lines):
            print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


@dataclass(frozen=True)
class Bench:
    """The directories and settings of a run."""

    data: Path
    rows: int
    days: int
    pairs: int
    memory: str
    other: str | None
    peers: str | None
    options: tuple[str, ...]
    """Of this build's engine."""
    report: Report

    @property
    def this_directory(self) -> Path:
        """What this build imported."""
        return self.data / "this"

    @property
    def other_directory(self) -> Path:
        """What the other build imported."""
        return self.data / "other"

    @property
    def day(self) -> date:
        """The day that is asked about; there are days before and after it."""
        return FIRST + timedelta(days=self.days * 2 // 3 - 1)

    def every_day(self) -> list[date]:
        """All days that have rows."""
        return [FIRST + timedelta(days=number) for number in range(self.days)]

    def whole_day(self) -> Window:
        """The 24 hours of a day."""
        after = self.day + timedelta(days=1)
        return Window("24 h", f"{self.day}T00:00:00Z", f"{after}T00:00:00Z", (str(self.day),))

    def all_days(self) -> Window:
        """From the first row to the last."""
        days = self.every_day()
        end = f"{days[-1] + timedelta(days=1)}T00:00:00Z"
        return Window(f"{self.days} d", f"{FIRST}T00:00:00Z", end, tuple(map(str, days)))

    def windows(self) -> list[Window]:
        """What is asked about; two begin within an hour or a day."""
        before = self.day - timedelta(days=1)
        across = [
            Window(f"24 h from {time}", f"{before}T{time}:00Z", f"{self.day}T{time}:00Z", ())
            for time in ("13:00", "13:17")
        ]
        return [self.whole_day(), *across, self.all_days()]

    def open(self, role: str, directory: Path, python: str = sys.executable) -> Asker:
        """A kept process of a build."""
        options = self.options if role == "backend" and python == sys.executable else ()
        return Asker(python, role, directory, self.memory, *options)


def body_of(question: str, window: Window) -> dict[str, Any]:
    fixed = {"datasource": "modelMetrics", "type": "distribution"}
    return {**fixed, **QUESTIONS[question], "startTs": window.start, "endTs": window.end}


def has_percentiles(question: str) -> bool:
    return question.startswith("percentiles")


# Preparing.


def prepare_source(bench: Bench) -> list[Path]:
    """Generate and check the rows of each day, unless they are there."""
    sources = bench.data / "source"
    sources.mkdir(exist_ok=True)
    for day in bench.every_day():
        file = sources / f"{day}.parquet"
        if not file.exists():
            write_calls(file.with_suffix(".part"), day, bench.rows // bench.days)
            file.with_suffix(".part").rename(file)
    files = [sources / f"{day}.parquet" for day in bench.every_day()]
    check(files)
    return files


def prepare(bench: Bench, *, is_fresh: bool) -> None:
    """Import the rows with each build, unless that is done."""
    files = prepare_source(bench)
    if is_fresh:
        shutil.rmtree(bench.this_directory, ignore_errors=True)
    import_all(bench, files, sys.executable, bench.this_directory)
    if bench.other is not None:
        import_all(bench, files, bench.other, bench.other_directory)


def import_all(bench: Bench, files: list[Path], python: str, into: Path) -> None:
    """Import each file in a run of its own, as a nightly job would."""
    package = BESIDE.parent / "src" / "gateway_metrics_mcp"
    digest = digest_of(package / "cli" / "ingest", package / "backends" / "duckdb")
    record = into.with_suffix(".json")
    if (into / TABLE).is_dir() and record.exists():
        known = json.loads(record.read_text("utf-8"))
        if python == sys.executable and known["digest"] != digest:
            print(f"note: {into} was imported by an earlier state of this build: see --fresh")
        return
    shutil.rmtree(into, ignore_errors=True)
    seconds = [import_file(file, into, python) for file in files]
    record.write_text(json.dumps({"digest": digest, "seconds": seconds}), "utf-8")
    print(f"{into.name}: {bench.rows / sum(seconds):.0f} rows/s imported", flush=True)


def link_without_rollups(source: Path, target: Path) -> None:
    """A copy of a data directory as hard links, without rollups."""
    for file in sorted(source.rglob("*")):
        copy = target / file.relative_to(source)
        if file.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif not file.name.startswith(ROLLUPS):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.hardlink_to(file)


@contextmanager
def without_rollups(bench: Bench) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=bench.data) as folder:
        link_without_rollups(bench.this_directory, Path(folder) / "raw")
        yield Path(folder) / "raw"


# Comparing.


def mean_of_ratios(ratios: Sequence[Sequence[float]]) -> list[float]:
    """The geometric mean over the questions, round by round."""
    return [exp(fmean(map(log, column))) for column in zip(*ratios, strict=True)]


def ratios_of(taken: dict[str, list[float]], one: str, other: str) -> list[float]:
    return [a / b for a, b in zip(taken[one], taken[other], strict=True)]


def describe(ratios: Sequence[float]) -> str:
    low, high, _ = interval([*ratios])
    return f"{median(ratios):6.2f} [{low:.2f}, {high:.2f}]"


def find_gap(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """The largest relative difference of two answers' numbers; None if their rows differ."""
    ours, theirs = ({key_of(row): row for row in answer["rows"]} for answer in (one, other))
    if ours.keys() != theirs.keys():
        return None
    gaps = [0.0]
    for key, row in ours.items():
        for name, value in row.items():
            against = theirs[key][name]
            if value != against:
                if value is None or against is None:
                    return None
                gaps.append(abs(value - against) / max(abs(value), abs(against)))
    return max(gaps)


def key_of(row: dict[str, Any]) -> str:
    """The group and bucket of a row: what is no number."""
    return json.dumps([(k, v) for k, v in row.items() if isinstance(v, str)])


def describe_gap(gap: float | None) -> str:
    if gap is None:
        return "OTHER ROWS"
    if gap == 0:
        return "equal"
    return f"equal but for rounding ({gap:.0e})" if gap < ROUNDING else f"DIFFERENT by {gap:.1e}"


def measure_questions(bench: Bench) -> None:
    """Each question over each window, this build against the other."""
    measure_builds(bench, bench.this_directory, bench.windows(), "")
    print(f"not asked: {NOT_ASKED}")


def measure_older(bench: Bench) -> None:
    """The same over the other build's directory: data that were imported before an update."""
    windows = [bench.whole_day(), bench.all_days()]
    measure_builds(bench, bench.other_directory, windows, ", files of the other build")


def measure_builds(bench: Bench, directory: Path, windows: list[Window], where: str) -> None:
    """Ask this build over the directory, and the other build over its own."""
    if bench.other is None:
        print("questions: skipped, as there is no --other build")
        return
    with (
        bench.open("backend", bench.other_directory, bench.other) as other,
        bench.open("backend", directory) as this,
        bench.open("backend", bench.other_directory, bench.other) as again,
    ):
        askers = {"other": other, "this": this, "again": again}
        for window in windows:
            measure_window(bench, window, where, askers)


def measure_window(bench: Bench, window: Window, where: str, askers: dict[str, Asker]) -> None:
    head = "other ms  this ms  times faster         control           answers"
    print(f"\n{window.name + where:30} {head}")
    exact: dict[str, list[float]] = {}
    near: dict[str, list[float]] = {}
    for question in QUESTIONS:
        body = body_of(question, window)
        gap = find_gap(*(askers[name].ask(body=body, show=True) for name in ("this", "other")))
        asks = {name: partial(asker.seconds, body=body) for name, asker in askers.items()}
        taken = take_turns(asks, bench.pairs, CHANCE)
        ratios = ratios_of(taken, "other", "this")
        is_near = has_percentiles(question) and gap is not None and gap > ROUNDING
        (near if is_near else exact)[question] = ratios
        print(
            f"{question:30} {median(taken['other']) * 1e3:8.1f} {median(taken['this']) * 1e3:8.1f}"
            f"  {describe(ratios):19}  {describe(ratios_of(taken, 'again', 'other')):19}"
            f"  {'from histograms, ' if is_near else ''}{describe_gap(gap)}",
            flush=True,
        )
        if (gap is None or gap > ROUNDING) and not is_near:
            bench.report.fail(f"{window.name}{where}: {question}", describe_gap(gap))
    report_window(bench, window, where, exact, near)


def report_window(
    bench: Bench,
    window: Window,
    where: str,
    exact: dict[str, list[float]],
    near: dict[str, list[float]],
) -> None:
    is_large, name = bench.rows >= LARGE, f"{window.name}{where}"
    targets = {
        "24 h": 9.0 if is_large else 5.0,
        bench.all_days().name: 25.0 if is_large else 12.0,
    }
    target = LEAST_OLDER if where else targets.get(window.name)
    add = partial(bench.report.add, yardstick="other build", at_least=True)
    means = mean_of_ratios([*exact.values()])
    add(f"{name}, {len(exact)} exact, times faster", ratios=means, target=target, gross=0.7)
    sums = [ratios for question, ratios in exact.items() if not has_percentiles(question)]
    if len(sums) < len(exact):
        add(f"{name}, {len(sums)} of them no percentiles", ratios=mean_of_ratios(sums))
    if near:
        target = 15 if window.name == bench.all_days().name else None
        means = mean_of_ratios([*near.values()])
        add(f"{name}, {len(near)} from histograms", ratios=means, target=target, gross=0.7)
    both = exact | near
    slowest = min(both, key=lambda question: median(both[question]))
    least = None if where else 1.0
    add(f"{name}, slowest: {slowest}", ratios=both[slowest], target=least, gross=0.5)


def measure_raw(bench: Bench) -> None:
    """Questions over files without rollups, against hand-written SQL on the same files."""
    windows = (
        [bench.whole_day()] if bench.report.is_short else [bench.whole_day(), bench.all_days()]
    )
    with (
        without_rollups(bench) as directory,
        bench.open("backend", directory) as this,
        bench.open("backend", bench.this_directory) as whole,
        open_peer("hand", sys.executable, directory, bench.data) as hand,
    ):
        for window in bench.windows():
            compare_roads(bench, window, whole, this)
        for window in windows:
            print(f"\n{window.name + ', rollups off':30}  this ms  hand ms  ratio")
            found = []
            for question in QUESTIONS:
                body = body_of(question, window)
                compare_counts(this, {"hand": hand}, question, window)
                asks = {
                    "this": partial(this.seconds, body=body),
                    "hand": partial(hand.seconds, question=question, days=window.days),
                }
                taken = take_turns(asks, bench.pairs, CHANCE)
                found.append(ratios_of(taken, "this", "hand"))
                print(
                    f"{question:30} {median(taken['this']) * 1e3:8.1f}"
                    f" {median(taken['hand']) * 1e3:8.1f}  {describe(found[-1])}",
                    flush=True,
                )
            name = f"{window.name}, rollups off"
            bench.report.add(name, "hand-written SQL", mean_of_ratios(found), 1.1, gross=2.5)


def compare_roads(bench: Bench, window: Window, whole: Asker, raw: Asker) -> None:
    """Whether answers from rollups are those from the rows alone, to the last digit."""
    for question in QUESTIONS:
        body = body_of(question, window)
        gap = find_gap(whole.ask(body=body, show=True), raw.ask(body=body, show=True))
        if gap and has_percentiles(question):
            print(f"{window.name}, {question}: from histograms, {describe_gap(gap)}")
        elif gap is None or gap > 0:
            name = f"{window.name}, {question}: rollups and rows"
            bench.report.fail(name, f"DIFFERENT by {gap}")


def open_peer(engine: str, python: str, directory: Path, folder: Path) -> Asker:
    return Asker(python, engine, directory, folder, script=str(BESIDE / "peers.py"))


def compare_counts(this: Asker, peers: dict[str, Asker], question: str, window: Window) -> None:
    """Say which engine's answer has another number of rows than ours."""
    count = len(this.ask(body=body_of(question, window), show=True)["rows"])
    for name, peer in peers.items():
        theirs = peer.ask(question=question, days=window.days)["count"]
        if theirs != count:
            print(f"note: {question}: {name} has {theirs} rows instead of {count}")


def measure_peers(bench: Bench) -> None:
    """The questions over a day, against other engines."""
    if bench.peers is None:
        print("peers: skipped, as no --peers environment is given")
        return
    window, folder = bench.whole_day(), bench.data / "peers"
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        this = stack.enter_context(bench.open("backend", bench.this_directory))
        peers = {
            name: stack.enter_context(open_peer(name, bench.peers, bench.this_directory, folder))
            for name in PEERS
        }
        print(f"\n{window.name:30}  this ms  " + "  ".join(f"{name:>15}" for name in PEERS))
        found: dict[str, list[list[float]]] = {name: [] for name in PEERS}
        for question in QUESTIONS:
            compare_counts(this, peers, question, window)
            asks: dict[str, Callable[[], float]] = {
                name: partial(peer.seconds, question=question, days=window.days)
                for name, peer in peers.items()
            }
            asks["this"] = partial(this.seconds, body=body_of(question, window))
            taken = take_turns(asks, bench.pairs, CHANCE)
            for name in PEERS:
                found[name].append(ratios_of(taken, "this", name))
            line = "  ".join(
                f"{median(taken[name]) * 1e3:7.1f} ({median(found[name][-1]):.2f})".rjust(15)
                for name in PEERS
            )
            print(f"{question:30} {median(taken['this']) * 1e3:8.1f}  {line}", flush=True)
        for name in PEERS:
            ratios = mean_of_ratios(found[name])
            bench.report.add(f"{window.name}, whole product", name, ratios, 1.0)


def arguments_of(question: str, window: Window) -> dict[str, Any]:
    """The tool that asks a question, and its arguments."""
    asked = {key: value for key, value in QUESTIONS[question].items() if key != "type"}
    asked["aggregations"] = [
        f"{entry['type']} {entry['column']}" for entry in asked.get("aggregations", ())
    ]
    if not asked["aggregations"]:
        del asked["aggregations"]
    is_series = QUESTIONS[question].get("type") == "timeseries"
    return {
        "tool": "query_timeseries" if is_series else "query_distribution",
        "arguments": {**asked, "startTs": window.start, "endTs": window.end},
    }


def measure_calls(bench: Bench) -> None:
    """A whole tool call against its slowest engine query, and that query plus a cached call."""
    window = bench.whole_day()
    with without_rollups(bench) as raw:
        for directory, name in ((raw, "rollups off"), (bench.this_directory, "rollups on")):
            with bench.open("tool", directory) as asker:
                found: dict[str, list[list[float]]] = {"query": [], "both": []}
                print(f"\n{window.name + ', ' + name:30}  call ms  slowest query  cached call")
                for question in QUESTIONS:
                    order = arguments_of(question, window)
                    asks = {
                        do: partial(asker.seconds, do=do, **order)
                        for do in ("call", "slowest", "cached")
                    }
                    taken = take_turns(asks, bench.pairs, CHANCE)
                    found["query"].append(ratios_of(taken, "call", "slowest"))
                    sums = [a + b for a, b in zip(taken["slowest"], taken["cached"], strict=True)]
                    both = [a / b for a, b in zip(taken["call"], sums, strict=True)]
                    found["both"].append(both)
                    times = "  ".join(f"{median(taken[do]) * 1e3:8.1f}" for do in asks)
                    print(f"{question:30} {times}  {describe(found['query'][-1])}", flush=True)
                query, both = (mean_of_ratios(found[kind]) for kind in ("query", "both"))
                is_raw = directory == raw
                add = partial(bench.report.add, f"24 h, tool call, {name}", gross=3.0)
                add("its slowest query", query, 1.3) if is_raw else None
                add("query plus cached call", both, None if is_raw else 1.3)


def size_of(directory: Path) -> int:
    return sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())


def measure_size(bench: Bench) -> None:
    """Bytes on disk, and how much of them rollups are."""
    size = size_of(bench.this_directory)
    rollups = sum(
        f.stat().st_size
        for f in bench.this_directory.rglob("*")
        if f.is_file() and f.name.startswith(ROLLUPS)
    )
    print(
        f"\ndisk: {size / 1e6:.0f} MB, {size / bench.rows:.1f} bytes a row,"
        f" {rollups / size:.1%} of it rollups"
    )
    if bench.other is not None:
        ratio = size / size_of(bench.other_directory)
        bench.report.add("disk", "other build", [ratio], 1.2, gross=1.5)


def measure_memory(bench: Bench) -> None:
    """The most memory of questions over all days, each in a process of its own."""
    if bench.other is None:
        print("memory: skipped, as there is no --other build")
        return
    found: list[list[float]] = []
    for question in MEMORY:
        order = {"body": body_of(question, bench.all_days()), "memory": True}
        peaks: dict[str, list[float]] = {"this": [], "other": []}
        for _ in range(max(5, bench.pairs // 4)):
            for name, python, directory in (
                ("other", bench.other, bench.other_directory),
                ("this", sys.executable, bench.this_directory),
            ):
                with bench.open("backend", directory, python) as asker:
                    peaks[name].append(asker.ask(**order)["peak"])
        found.append(ratios_of(peaks, "this", "other"))
        print(
            f"memory, {question}: {median(peaks['this']):.0f} MB,"
            f" other {median(peaks['other']):.0f} MB"
        )
    name = f"{bench.all_days().name}, peak memory"
    bench.report.add(name, "other build", mean_of_ratios(found), 0.7)


def measure_days(bench: Bench) -> None:
    """A day's questions among few and many days, each imported by a run of its own.

    All days but that one have few rows: they have to be passed over by name.
    """
    window, folder = bench.whole_day(), bench.data / "days"
    folder.mkdir(exist_ok=True)
    for counts in MORE_DAYS:
        directories = [grow_days(bench, folder, count) for count in counts]
        with ExitStack() as stack:
            askers = {}
            for count, directory in zip(counts, directories, strict=True):
                raw = directory.with_name(f"{directory.name}-raw")
                shutil.rmtree(raw, ignore_errors=True)
                link_without_rollups(directory, raw)
                askers[str(count)] = stack.enter_context(bench.open("backend", raw))
            found: dict[str, list[list[float]]] = {str(count): [] for count in counts[1:]}
            for question in QUESTIONS:
                body = body_of(question, window)
                asks = {name: partial(asker.seconds, body=body) for name, asker in askers.items()}
                taken = take_turns(asks, bench.pairs, CHANCE)
                for name, ratios in found.items():
                    ratios.append(ratios_of(taken, name, str(counts[0])))
            for name, ratios in found.items():
                means = mean_of_ratios(ratios)
                print(f"24 h among {name} days: {describe(means)} times {counts[0]}", flush=True)
                measure = f"24 h among {name} days of a run each, rollups off"
                bench.report.add(measure, f"{counts[0]} days", means, 1.2)


def grow_days(bench: Bench, folder: Path, count: int) -> Path:
    """A directory with the asked day and earlier ones of few rows, unless it is there."""
    directory = folder / str(count)
    done = directory.with_suffix(".done")
    if not done.exists():
        shutil.rmtree(directory, ignore_errors=True)
        seconds = []
        with Asker(sys.executable, "import") as asker, tempfile.TemporaryDirectory() as made:
            for number in range(count - 2, -1, -1):
                day = bench.day - timedelta(days=number + 1)
                file = Path(made) / f"{day}.parquet"
                write_calls(file, day, FEW_ROWS)
                seconds.append(asker.seconds(file=str(file), into=str(directory)))
                file.unlink()
            source = bench.data / "source" / f"{bench.day}.parquet"
            asker.ask(file=str(source), into=str(directory))
        done.touch()
        first, last = (median(part) * 1e3 for part in (seconds[:20], seconds[-20:]))
        print(f"{count} runs: importing {FEW_ROWS} rows took {first:.0f} ms first, {last:.0f} last")
    return directory


def write_sources(bench: Bench) -> dict[str, Path]:
    """A day's rows as Parquet, CSV and JSON lines, unless they are there."""
    folder, count = bench.data / "import", min(bench.rows, IMPORTED)
    folder.mkdir(exist_ok=True)
    names = {kind: folder / f"{count}.{kind}" for kind in ("parquet", "csv", "jsonl")}
    if not all(file.exists() for file in names.values()):
        write_calls(names["parquet"], bench.day, count)
        iso = "strftime(CreatedAt AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS CreatedAt"
        text = "to_json(Metadata)::VARCHAR AS Metadata, to_json(Teams)::VARCHAR AS Teams"
        rows = f"'{names['parquet']}'"
        with duckdb.connect(config={"threads": 2}) as engine:
            engine.execute("SET TimeZone = 'UTC'")
            engine.execute(
                f"COPY (SELECT * REPLACE ({iso}, {text}) FROM {rows}) TO '{names['csv']}' (HEADER)"  # noqa: S608 - ours
            )
            engine.execute(
                f"COPY (SELECT * REPLACE ({iso}) FROM {rows}) TO '{names['jsonl']}' (FORMAT json)"  # noqa: S608 - ours
            )
    return names


def measure_import(bench: Bench) -> None:
    """Importing one file of a day, in a process of its own, against a bare COPY of it."""
    for kind, source in write_sources(bench).items():
        times: dict[str, list[float]] = {"import": [], "copy": []}
        peaks: list[float] = []
        for _ in range(min(bench.pairs, IMPORTS)):
            with (
                tempfile.TemporaryDirectory(dir=bench.data) as folder,
                Asker(sys.executable, "import") as ours,
                Asker(sys.executable, "copy", script=str(BESIDE / "peers.py")) as bare,
            ):
                asks = {
                    "import": partial(ours.ask, file=str(source), into=f"{folder}/into"),
                    "copy": partial(bare.ask, source=str(source), target=f"{folder}/rows.parquet"),
                }
                for name in CHANCE.sample(sorted(asks), 2):
                    answer = asks[name]()
                    times[name].append(answer["seconds"])
                    if name == "import":
                        peaks.append(answer["peak"])
        rows = int(source.stem)
        print(
            f"import of {rows} rows as {kind}: {rows / median(times['import']):.0f} rows/s,"
            f" {max(peaks):.0f} MB; bare COPY {rows / median(times['copy']):.0f} rows/s",
            flush=True,
        )
        name = f"import of {rows} rows as {kind}"
        bench.report.add(name, "bare COPY", ratios_of(times, "import", "copy"), 2.0)
        bench.report.add(f"{name}, peak memory", "1 GB", [peak / 1e3 for peak in peaks], 1.0)


RUNS: Final[dict[str, Callable[[Bench], None]]] = {
    "questions": measure_questions,
    "older": measure_older,
    "raw": measure_raw,
    "peers": measure_peers,
    "calls": measure_calls,
    "size": measure_size,
    "memory": measure_memory,
    "days": measure_days,
    "import": measure_import,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where the rows are, or come to stay")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--memory", default="2GB", help="limit of the engine, as in the product")
    parser.add_argument("--other", help="the Python of the other build's environment")
    parser.add_argument("--peers", help="the Python of an environment with the other engines")
    parser.add_argument("--only", nargs="+", choices=sorted(RUNS))
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=JSON")
    parser.add_argument("--fresh", action="store_true", help="import again with this build")
    parser.add_argument("--short", action="store_true")
    flags = parser.parse_args()
    if flags.short:
        flags.rows, flags.days, flags.pairs = 1_000_000, 3, 7
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        os.environ.pop(name, None)  # as users start it: byte code is written once and read
    with ExitStack() as stack:
        data = flags.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.mkdir(parents=True, exist_ok=True)
        report = Report(flags.short)
        bench = Bench(
            data.resolve(),
            flags.rows,
            flags.days,
            flags.pairs,
            flags.memory,
            flags.other,
            flags.peers,
            tuple(flags.set),
            report,
        )
        prepare(bench, is_fresh=flags.fresh)
        for part in flags.only or (SHORT if flags.short else RUNS):
            RUNS[part](bench)
    report.show()
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
