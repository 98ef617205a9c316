"""Fast text generation: frozen copies of the weights, a KV cache, streams of tokens."""
