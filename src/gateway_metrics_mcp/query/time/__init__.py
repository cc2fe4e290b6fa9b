"""Times as people and the API write them: instants, periods, zones, windows and intervals."""
