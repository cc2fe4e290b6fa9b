"""Instants, periods, zones and intervals."""
