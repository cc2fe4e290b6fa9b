"""Import: files of any origin -> Parquet in the published layout, which the engine reads."""
