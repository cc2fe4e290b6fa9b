"""The command `install`."""
