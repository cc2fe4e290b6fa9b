"""What answers a query: a gateway, DuckDB, ClickHouse, or generated data."""
