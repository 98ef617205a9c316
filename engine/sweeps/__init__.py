"""Several runs, one after the other: the queue, grids of settings, which is the best."""
