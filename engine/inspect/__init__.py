"""What a model is made of, what it costs, and how a text goes through it."""
