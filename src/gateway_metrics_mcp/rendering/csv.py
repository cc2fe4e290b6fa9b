"""An answer as CSV: all rows with all digits, safe to open in a spreadsheet."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway_metrics_mcp.query.result import Key
from gateway_metrics_mcp.rendering.cells import add_unit, keep_on_line
from gateway_metrics_mcp.rendering.document import Column
from gateway_metrics_mcp.rendering.report_document import ReportDocument

# A spreadsheet takes text for a formula by its first letter; where it splits at semicolons, by
# that of each part. A quote is read as the beginning of a part, not as its first letter.
_FORMULA: Final = re.compile('(^|;)(?=[\\s"]*[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_NEEDS_QUOTES: Final = re.compile('[",;]|^\\s|\\s$')


def write_csv(columns: Sequence[Column], records: Iterable[Sequence[Key]]) -> str:
    """A header and every record, of whatever document they are.

    The names are the table's, the numbers as in `format: json`. The ALL row is left out: it must
    not be added up with the rows.
    """
    heading = [one.name if one.kind != "value" else add_unit(one.name, one.unit) for one in columns]
    return "\n".join(map(write_line, [heading, *records])) + "\n"


def list_remarks(document: ReportDocument, *parts: str) -> list[str]:
    """What a CSV has no place for: window, filters, scope, what is counted, and the notes."""
    # Nothing is rounded in a CSV.
    notes = [note for note in document.notes if note.kind != "rounded"]
    remarks = replace(document, notes=notes).remarks
    return [document.header.show(*parts), *remarks]


def write_line(cells: Iterable[Key]) -> str:
    """One record; a lone empty field is quoted, since it would be an empty line."""
    return ",".join(map(_write_cell, cells)) or '""'


def _write_cell(cell: Key) -> str:
    """Numbers bare, nothing for null, `""` for empty text."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if not isinstance(cell, str):
        return json.dumps(cell)
    text = _FORMULA.sub(r"\1'", keep_on_line(cell))
    if text and _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'
