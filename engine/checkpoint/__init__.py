"""Checkpoints: writing, reading and retention."""
