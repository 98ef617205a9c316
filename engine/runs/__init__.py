"""The run folder, which holds all of a run. Nothing here imports PyTorch."""
