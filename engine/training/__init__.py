"""Training: the trainer, precision, CUDA graphs, and the choice of device and threads."""
