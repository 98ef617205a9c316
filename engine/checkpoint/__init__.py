"""Checkpoints: written, read, kept and dropped."""
