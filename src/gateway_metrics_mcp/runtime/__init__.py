"""Shared by every part of a running process: logs, metrics, traces, readiness, limits, threads."""
