"""The prompts offered to users: templates in Markdown, their arguments, and how they are filled."""
