"""Shared by the commands' parsers: flags for settings, and one-line errors without secrets."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, get_args

from gateway_metrics_mcp.backends import find_embedded_credentials
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import closest_matches
from gateway_metrics_mcp.runtime.logs import configure_logging
from gateway_metrics_mcp.settings import (
    Settings,
    flag_names,
    flag_of,
    read_settings,
)

WRONG_USAGE: Final = 2


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations: a new flag must not break a script's `--to`."""

    def __init__(self, prog: str, *, usage: str = "%(prog)s [flags]", **texts: str) -> None:
        super().__init__(prog=prog, usage=usage, allow_abbrev=False, **texts)  # type: ignore[arg-type]  # texts only

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments; exits with 2 if one is unknown."""
        known, rest = self.parse_known_args(argv)
        self.refuse(rest, argv)
        return known

    def refuse(self, rest: Sequence[str], argv: Sequence[str]) -> None:
        """Exit with 2 if `parse_known_args` left arguments over."""
        for problem in self.explain_unknown(rest, argv):
            self.error(problem)

    def explain_unknown(self, rest: Sequence[str], argv: Sequence[str]) -> Iterator[str]:
        """A sentence for each unknown argument.

        Only the names of flags are repeated: values and bare words may be secrets, as in
        `--token SECRET`, and errors are kept in the logs of CI systems.
        """
        is_value = False
        for word in rest:
            name, has_value, _ = word.partition("=")
            is_flag = word.startswith("-")
            if is_flag:
                near = " or ".join(closest_matches(name, self._option_string_actions))
                yield f"unknown argument {name}{f'. Did you mean {near}?' if near else ''}"
            elif not is_value:
                place = argv.index(word) + 1 if word in argv else len(argv)
                yield f"word {place} after {self.prog} belongs to no flag: quote values with spaces"
            is_value = is_flag and not has_value

    def error(self, message: str) -> NoReturn:
        """Exit with 2 and one line: argparse would print it below a screen of usage."""
        end = "" if message.endswith("?") else "."
        self.exit(WRONG_USAGE, f"{self.prog}: {message}{end} See {self.prog} --help\n")


def read_command_settings(flags: Mapping[str, Any]) -> Settings:
    """Read a command's settings from its flags and the environment, and configure logging.

    Raises:
        SettingsError: if a setting is invalid, or the backend's URL contains a secret.
    """
    settings = read_settings(flags, os.environ)
    # Other users of the machine can read a command line.
    if advice := find_embedded_credentials(settings.backend or ""):
        raise SettingsError(advice)
    configure_logging(settings.log_level, settings.log_format)
    return settings


def add_setting_flags(
    parser: argparse.ArgumentParser,
    *,
    without: Collection[str] = (),
    shown: Collection[str] | None = None,
) -> None:
    """Add `--config` and a flag per setting; the help lists all, or only those in `shown`."""
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
