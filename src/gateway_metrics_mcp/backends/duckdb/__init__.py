"""DuckDB over Parquet files."""
