"""From a report to an answer, and from an answer to text, JSON and CSV."""
