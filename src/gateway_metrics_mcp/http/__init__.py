"""The server over HTTP: transports, the metrics API, health, metrics and shutdown."""
