"""The command `import`, under a name that is not a keyword: loads logs into a data directory."""
