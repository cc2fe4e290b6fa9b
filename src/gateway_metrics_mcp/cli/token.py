"""`token`: a new token for callers, shown once on stderr, and its entry for the file on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from gateway_metrics_mcp.auth.tokens import (
    UNKNOWN_KEY,
    explain_entry,
    make_token,
    read_lifetime,
)
from gateway_metrics_mcp.cli.parsers import Parser


def main(argv: Sequence[str]) -> int:
    """Print a new token to stderr and its entry for the tokens file to stdout.

    So `>> tokens.toml` stores the entry and never the token.

    Returns:
        The exit code 0; wrong usage exits with 2.
    """
    parser = Parser("gateway-metrics-mcp token", description=__doc__)
    parser.add_argument("--subject", required=True, help="an e-mail address, or an account's name")
    parser.add_argument("--type", choices=("user", "virtualaccount"), default="user")
    parser.add_argument("--team", action="append", default=[], help="a team of the subject; repeat")
    parser.add_argument("--tenant-admin", action="store_true", help="may see all rows")
    parser.add_argument("--expires", metavar="LIFETIME", help="90d or 12h; default never")
    arguments = parser.parse(argv)
    expires = None
    if arguments.expires is not None:
        try:
            expires = datetime.now(UTC) + read_lifetime(arguments.expires)
        except ValueError as error:
            parser.error(str(error))
    try:
        token, entry = make_token(
            arguments.subject,
            arguments.type,
            arguments.team,
            is_tenant_admin=arguments.tenant_admin,
            expires=expires,
        )
    except ValidationError as error:
        parser.error(explain_entry(error.errors(), UNKNOWN_KEY))
    sys.stdout.write(f"\n{entry.to_toml()}\n")
    sys.stdout.flush()  # in a terminal the entry stands first
    sys.stderr.write(f"\nThe token, shown this once: {token}\n")
    return 0
