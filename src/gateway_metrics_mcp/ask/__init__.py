"""`ask`: the tools' answers in a terminal and in scripts, without a model."""
