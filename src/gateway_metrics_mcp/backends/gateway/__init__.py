"""The remote gateway's metrics API over HTTP."""
