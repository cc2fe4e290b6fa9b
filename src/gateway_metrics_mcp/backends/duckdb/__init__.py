"""DuckDB over a directory of Parquet files, in this process."""
