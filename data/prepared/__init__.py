"""Prepared texts: the tokens of a text, made once, kept in the cache and shared by all runs."""
