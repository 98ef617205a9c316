"""The learning-rate finder: a short training run with a rising rate, and the rate it suggests."""
