"""Records what the product answers to some hundreds of requests, or compares with the record.

`python tests/golden/record.py` writes `exchanges.json`; with `--check` it writes nothing, prints
what differs, and ends with 1 if anything does. Figures and words are counted apart: words may
be changed on purpose, figures may not.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import anyio

from asking import record_api, record_callers, record_gateway, record_sessions
from book import Book, Exchange
from logs import write_home, write_logs
from product import OUR_VARIABLES, VERSION, at_fixed_clock
from rows import write_data, write_part_of_data
from running import record_commands

_RECORD: Final = Path(__file__).with_name("exchanges.json")
_ROOT: Final = Path(__file__).parents[2]
_FIGURE: Final = re.compile(r"\d+")


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    is_check = parser.parse_args().check
    _settle_environment()
    made = _record_all()
    counts = Counter(exchange.kind.partition(" ")[0] for exchange in made)
    print(f"{len(made)} exchanges: {', '.join(f'{n} {kind}' for kind, n in counts.items())}")
    if is_check:
        return _compare(_read(_RECORD), {one.key: one.blocks for one in made})
    _RECORD.write_text(_write(made), "utf-8")
    return 0


def _settle_environment() -> None:
    """Whoever records may have a gateway set up, a proxy or a wide terminal: none of it counts."""
    for name in [*os.environ]:
        if name.startswith(OUR_VARIABLES) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TZ": "UTC"}


def _record_all() -> list[Exchange]:
    with tempfile.TemporaryDirectory() as directory, at_fixed_clock():
        place = Path(directory).resolve()
        (place / "data").mkdir()
        (place / "part").mkdir()
        write_data(place / "data")
        write_part_of_data(place / "part")
        write_logs(place / "logs")
        write_home(place / "home")
        (place / "key").write_text("0123456789abcdef0123456789abcdef", "utf-8")
        os.environ |= {"HOME": str(place / "home"), "XDG_STATE_HOME": str(place / "state")}
        book = Book({
            str(place): "<place>", sys.executable: "<python>",
            str(Path(sys.executable).parent): "<bin>", sys.prefix: "<prefix>",
            str(_ROOT): "<repository>", VERSION: "<version>",
        })  # fmt: skip
        logging.disable(logging.ERROR)  # what goes wrong is in the answers
        for part in (record_sessions, record_callers, record_api, record_gateway):
            anyio.run(part, book, place)
        logging.disable(logging.NOTSET)
        record_commands(book, place)
    return book.exchanges


def _write(exchanges: Iterable[Exchange]) -> str:
    """JSON of which each exchange is a block, and each line of its text a line."""
    blocks = []
    for exchange in exchanges:
        parts = [f'  "exchange": {_dump(exchange.key)}']
        for name, lines in exchange.blocks.items():
            listed = ",\n".join(f"   {_dump(line)}" for line in lines)
            parts.append(f'  "{name}": [\n{listed}\n  ]' if lines else f'  "{name}": []')
        blocks.append(" {\n" + ",\n".join(parts) + "\n }")
    return "[\n" + ",\n".join(blocks) + "\n]\n"


def _dump(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _read(path: Path) -> dict[str, dict[str, list[str]]]:
    return {one.pop("exchange"): one for one in json.loads(path.read_text("utf-8"))}


def _compare(
    known: Mapping[str, Mapping[str, list[str]]], made: Mapping[str, Mapping[str, list[str]]]
) -> int:
    changed = [key for key in known if key in made and known[key] != made[key]]
    figures = [key for key in changed if _figures(known[key]) != _figures(made[key])]
    gone = [key for key in known if key not in made]
    new = [key for key in made if key not in known]
    for key in (*changed, *gone, *new):
        sys.stdout.writelines(_explain(key, known.get(key, {}), made.get(key, {})))
    for key in figures:
        print(f"other figures: {key}")
    print(
        f"{len(changed)} exchanges have another text, {len(figures)} of them other figures;"
        f" {len(gone)} are gone, {len(new)} are new"
    )
    return 1 if changed or gone or new else 0


def _figures(blocks: Mapping[str, list[str]]) -> list[str]:
    return [
        figure for lines in blocks.values() for line in lines for figure in _FIGURE.findall(line)
    ]


def _explain(
    key: str, known: Mapping[str, list[str]], made: Mapping[str, list[str]]
) -> Iterator[str]:
    before, after = (
        [f"{name}: {line}\n" for name, lines in blocks.items() for line in lines]
        for blocks in (known, made)
    )
    yield from difflib.unified_diff(before, after, f"recorded {key}", f"now {key}", n=1)


if __name__ == "__main__":
    sys.exit(main())
