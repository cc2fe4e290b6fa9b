"""A ClickHouse server or cluster, over its HTTP interface."""
