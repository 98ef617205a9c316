"""Text from a model, fast: copies of its weights, a cache of keys and values, streams of tokens."""
