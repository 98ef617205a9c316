"""The machine a run is trained on: its memory, and how far something is."""
