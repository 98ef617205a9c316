"""Training itself: the trainer and all that it computes with."""
