"""Checking, repairing and replaying runs."""
