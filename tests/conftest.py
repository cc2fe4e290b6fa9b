"""What all tests share."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import settings

from gateway_metrics_mcp.query.catalog import Catalog, load_catalog

# Machines differ too much for deadlines. The usual examples are the same in each run, so that a
# change alone can fail it; `make verify` takes the thorough profile, and new ones each time. What
# is compared with a reference takes more than others there, and says how many.
settings.register_profile("usual", deadline=None, max_examples=20, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("usual")

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
"""A Wednesday; tests ask their questions at this instant."""


# Whoever runs the tests may have a gateway set up, or a proxy: none of it is theirs.
for _name in [*os.environ]:
    if _name.startswith(("GATEWAY_METRICS_", "TFY_")) or _name.lower().endswith("_proxy"):
        del os.environ[_name]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()
