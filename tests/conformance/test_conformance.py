"""The protocol's official conformance suite against our HTTP server, in both eras."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

LISTS: Final = tomllib.loads(Path(__file__).with_name("scenarios.toml").read_text("utf-8"))
RESULT: Final = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
BAD: Final = ("FAILURE", "WARNING")

pytestmark = pytest.mark.thorough

Checks = dict[str, list[dict[str, Any]]]


def _run(conformance: list[str], url: str, version: str, out: Path) -> Checks:
    """Every scenario of a version: what each of its checks found."""
    command = [*conformance, "server", "--url", url, "--spec-version", version]
    command += ["--suite", "all", "--output-dir", str(out)]
    subprocess.run(command, capture_output=True, timeout=300, check=False)  # noqa: S603 - our words
    return {
        found[1]: json.loads((folder / "checks.json").read_text("utf-8"))
        for folder in out.iterdir()
        if (found := RESULT.fullmatch(folder.name))
    }


def _bad_checks(checks: Checks, scenarios: list[str], unless: dict[str, str]) -> list[str]:
    return [
        f"{name}: {check['id']}: {check.get('errorMessage') or check['description']}"
        for name in scenarios
        for check in checks[name]
        if check["status"] in BAD and check["id"] not in unless
    ]


def _succeeded(checks: list[dict[str, Any]]) -> bool:
    """Whether a check of the scenario's own passed, beside the one that every scenario has."""
    return any(c["status"] == "SUCCESS" and c["id"] != "wire-schema-valid" for c in checks)


@pytest.mark.parametrize("version", LISTS)
def test_the_scenarios_that_apply_pass(
    conformance: list[str], url: str, version: str, tmp_path: Path
) -> None:
    lists = LISTS[version]
    passing, unless = lists["passing"], lists.get("unless", {})

    checks = _run(conformance, url, version, tmp_path)

    assert sorted(checks) == sorted([*passing, *lists["excluded"]])
    assert _bad_checks(checks, passing, unless) == []
    assert {name for name in passing if _succeeded(checks[name])} == set(passing)
    # An exception that is no longer needed has to go.
    assert {c["id"] for name in passing for c in checks[name] if c["status"] in BAD} == set(unless)


@pytest.mark.parametrize("version", LISTS)
def test_every_exclusion_has_a_reason(version: str) -> None:
    lists = LISTS[version]
    reasons = {**lists["excluded"], **lists.get("unless", {})}

    assert [name for name, reason in reasons.items() if len(reason.strip()) < len("likewise")] == []
    assert set(lists["passing"]) & set(lists["excluded"]) == set()


@pytest.mark.parametrize("version", LISTS)
def test_a_page_that_is_no_server_fails_every_scenario(
    conformance: list[str], url: str, version: str, tmp_path: Path
) -> None:
    passing = LISTS[version]["passing"]

    checks = _run(conformance, f"{url}/nothing", version, tmp_path)

    failed = {n for n in passing for check in checks.get(n, []) if check["status"] == "FAILURE"}
    assert failed >= set(passing) - {"dns-rebinding-protection"}
