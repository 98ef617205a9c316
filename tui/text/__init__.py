"""Formatting shared by screens and commands."""
