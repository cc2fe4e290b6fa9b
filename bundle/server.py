"""What the bundle starts, in the environment that uv makes of its pyproject.toml."""

import sys

from gateway_metrics_mcp.cli.main import main

sys.exit(main())
