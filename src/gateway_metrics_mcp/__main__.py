"""`python -m gateway_metrics_mcp`."""

import sys

from gateway_metrics_mcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
