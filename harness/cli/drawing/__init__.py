"""What the commands that get pictures do with them: names for their files, a look at them in the terminal, prompts from a file."""
