"""The terminal itself: its keys, and what is written to it."""
