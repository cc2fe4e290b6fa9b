"""Work over very many rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.grid import sort_rows

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers()))


@given(ROWS, st.booleans(), st.integers(1, 7))
def test_rows_in_runs_are_sorted_as_a_whole_and_ties_keep_their_order(
    rows: list[tuple[int, int]],
    is_descending: bool,  # noqa: FBT001 - drawn
    most: int,
) -> None:
    ours = sort_rows(rows, lambda row: row[0], is_descending=is_descending, most=most)

    assert ours == sorted(rows, key=lambda row: row[0], reverse=is_descending)
