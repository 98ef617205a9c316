"""A run in training: the loop, the commands, and what becomes of each step."""
