"""A command-line flag for each setting; its text is the setting's own."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, get_args

from gateway_metrics_mcp.settings import Settings, flag_names


def flag_of(name: str) -> str:
    """`--token-file` for `token_file`."""
    return f"--{name.replace('_', '-')}"


def add_setting_flags(
    parser: argparse.ArgumentParser,
    *,
    without: Collection[str] = (),
    shown: Collection[str] | None = None,
) -> None:
    """Add `--config` and the settings' flags; where `shown` is given, the help has those alone."""
    add = parser.add_argument
    add("--config", metavar="FILE", help="a TOML file with settings")
    for name in flag_names():
        if name in without:
            continue
        field = Settings.model_fields[name]
        choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
        options: dict[str, Any] = {"action": "append"} if field.default == () else {}
        if field.default is False:
            options |= {"nargs": "?", "const": "true"}  # `--flag` alone says yes
        if choices:
            options["choices"] = choices
        else:
            options["metavar"] = name.rpartition("_")[2].upper()
        is_shown = shown is None or name in shown
        text = (field.description or "").replace("%", "%%")
        add(flag_of(name), help=text if is_shown else argparse.SUPPRESS, **options)
