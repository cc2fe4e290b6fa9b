"""Names that no row has, and those that come near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import format_key, quote_text
from gateway_metrics_mcp.computing.probing import Unmatched, absent_keys
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX

_MOST_LINES: Final = 5


def unmatched_notes(asked: Asked) -> list[str]:
    """Keys of the metadata that no row has, and values of a filter that match nothing."""
    keys = absent_keys(asked.result) if asked.result.points else []
    return [
        *(describe_key(asked, field) for field in keys),
        *describe_unmatched(asked, asked.unmatched),
    ]


def describe_unmatched(asked: Asked, unmatched: Sequence[Unmatched]) -> list[str]:
    """A line for each value that no row has, unless there are very many."""
    keys = [one.field for one in unmatched if one.field in asked.near_keys]
    if keys:
        return [describe_key(asked, key) for key in dict.fromkeys(keys)]
    is_part = asked.probe is not None and asked.probe.is_later_alone
    where = " in the later window" if is_part else ""
    lines = [_describe_unmatched(one, where) for one in unmatched[:_MOST_LINES]]
    rest = len(unmatched) - len(lines)
    return [*lines, f"and {rest} more values have no rows"] if rest else lines


def describe_key(asked: Asked, field: str) -> str:
    """What is said of a metadata key that no row has: it is most often misspelt."""
    key = quote_text(field.removeprefix(METADATA_PREFIX))
    near = asked.near_keys.get(field, ())
    if field.removeprefix(METADATA_PREFIX) in near:
        return f"none of these rows has the metadata key {key}, which others have"
    meant = f": did you mean {' or '.join(map(quote_text, near))}?" if near else ": case counts"
    return f"no row has the metadata key {key}{meant}"


def _describe_unmatched(one: Unmatched, where: str) -> str:
    """`modelName "gtp-4o" has no rows: did you mean openai/gpt-4o?`."""
    wrong = f"{format_key(one.field)} {_quoted(one.value)} has no rows{where}"
    if one.is_elsewhere:
        return f"{wrong} with the other filters"
    if one.near is None:
        return wrong
    if not one.near:
        return f"{wrong}, and no value comes near"
    return f"{wrong}: did you mean {' or '.join(format_key(near) for near in one.near)}?"


def _quoted(value: str) -> str:
    text = format_key(value)
    return text if text.startswith('"') else f'"{text}"'
