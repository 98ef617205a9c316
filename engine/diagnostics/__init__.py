"""Diagnose training problems from the curves of a run, and advise what to change."""
