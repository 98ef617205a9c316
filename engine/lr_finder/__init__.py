"""The learning-rate finder: a short training with a rising rate, and the rate it suggests."""
