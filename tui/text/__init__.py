"""Words and figures, shared by screens and commands."""
