"""The command `ask`: one question from the command line, with the tools' answers."""
