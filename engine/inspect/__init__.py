"""Inspect a model: its modules, its cost, and a trace of a forward pass."""
