"""From a question to figures: the calls it takes, and what their answers come to."""
