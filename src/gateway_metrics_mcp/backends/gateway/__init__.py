"""The remote gateway over HTTP."""
