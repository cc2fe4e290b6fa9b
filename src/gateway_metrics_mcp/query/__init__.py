"""What can be asked: the query types, the catalog and the words for time."""
