"""What every part of a running process uses: logs, metrics, tracing, readiness, limits, threads."""
