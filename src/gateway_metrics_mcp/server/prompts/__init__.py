"""Prompts: Markdown files with parameters."""
