"""Authentication over HTTP: who is calling, and which rows they may see."""
