"""The run folder: all that a run is lives there. Nothing here loads PyTorch."""
